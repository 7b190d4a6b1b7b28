"""What is fuzzed: for every kind of file a valid sample, and the function of facekp that reads it."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.core.plain_files import DamagedFile, read_yaml
from facekp.data.competition import write_test, write_training
from facekp.data.readers.aflw import POINTS as AFLW_POINTS
from facekp.data.readers.read import read_table, read_test
from facekp.data.synthetic.faces import draw_faces
from facekp.models.checkpoint import load_checkpoint
from facekp.models.onnx_model import DIGEST_TEXT, NO_DIGEST, load_onnx, write_digest
from facekp.models.packaged import PACKAGED
from facekp.photos.single import _as_photo
from facekp.runs.folder import RunFolder
from facekp.runs.sweep_folder import SweepFolder
from tests.conftest import FIXTURES
from tests.data.label_readers import read_labels, shipped
from tests.data.photo_folder import HEADER, read_folder
from tests.data.samples import data_settings
from tests.drawn_photos import DRAWN, five
from tests.small_onnx import write_small_onnx

Reader = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        file: path of the file that is damaged, in the sample's folder.
        write: writes a valid sample into an empty folder.
        read: reads it as a command does.
    """

    file: str
    write: Callable[[Path], Any]
    read: Reader


def kaggle() -> Keypoints:
    return Keypoints.from_dict(yaml.safe_load((CONF_DIR / "keypoints" / "kaggle15.yaml").read_text()))


# Labels.


def write_competition(folder: Path) -> None:
    table = draw_faces(12, 0, kaggle())
    write_training(folder / "training.csv", table)
    write_test(folder, table, np.ones(table.points.shape[:2], bool))


def read_competition(folder: Path) -> Any:
    return read_table(data_settings("data=kaggle", f"data.dir={folder}", "data.cache=null"), kaggle())


def read_competition_test(folder: Path) -> Any:
    return read_test(data_settings("data=kaggle", f"data.dir={folder}", "data.cache=null"), kaggle())


def write_photos(folder: Path) -> None:
    (folder / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 50, 60), dtype=np.uint8)
    for name, image in zip("ab", noise, strict=True):
        Image.fromarray(image).save(folder / "photos" / f"{name}.png")
    rows = [f"{name}.png,30,20,10,20,20,30,28,40,12,40" for name in "ab"]
    (folder / "labels.csv").write_text("\n".join([HEADER, *rows, ""]))


def write_coco(folder: Path) -> None:
    write_photos(folder)
    points = [value for x, y in ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40)) for value in (x, y, 2)]
    face = {"category_id": 1, "keypoints": points, "bbox": [5, 5, 40, 40], "iscrowd": 0}
    images = [{"id": i, "file_name": f"{name}.png", "width": 60, "height": 50} for i, name in enumerate("ab")]
    labels = {
        "images": images,
        "annotations": [{**face, "id": i, "image_id": i} for i in range(2)],
        "categories": [{"id": 1, "name": "face", "keypoints": list(DRAWN), "skeleton": [[1, 2]]}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))


def read_coco(folder: Path) -> Any:
    paths = (f"data.images={folder}/photos", f"data.labels={folder}/labels.json", "data.cache=null")
    return read_table(data_settings("data=coco", *paths), five())


def write_imglab(folder: Path) -> None:
    write_photos(folder)
    points = zip(DRAWN, ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40)), strict=True)
    parts = "".join(f"<part name='{name}' x='{x}' y='{y}'/>" for name, (x, y) in points)
    box = f"<box top='5' left='5' width='40' height='40'><label>anna</label>{parts}</box>"
    images = "".join(f"<image file='{name}.png' width='60' height='50'>{box}</image>" for name in "ab")
    (folder / "labels.xml").write_text(f"<?xml version='1.0'?>\n<dataset><images>{images}</images></dataset>\n")


def write_celeba(folder: Path) -> None:
    write_photos(folder)
    header = " ".join(
        f"{name}_{axis}" for name in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
    )
    lines = [f"{name}.png  10  20   30   20   20   30   12   40    28   40" for name in "ab"]
    (folder / "labels.txt").write_text("\n".join(["2", header, *lines, ""]))


def write_txt(folder: Path) -> None:
    write_photos(folder)
    for name in "ab":
        (folder / "photos" / f"{name}.txt").write_text("5\n30 20\n10 20\n20 30\n28 40\n12 40\n")


def write_ljson(folder: Path) -> None:
    write_photos(folder)
    points = {
        "version": 3,
        "groups": {"PTS": {"landmarks": {"points": [[20, 30], [20, 10], [30, 20], [40, 28], [40, 12]]}}},
    }
    for name in "ab":
        (folder / "photos" / f"{name}.ljson").write_text(json.dumps(points))


def write_w300lp(folder: Path) -> None:
    write_photos(folder)
    for name in "ab":
        savemat(folder / "photos" / f"{name}.mat", {"pt2d": np.array([[31, 11, 21, 29, 13], [21, 21, 31, 41, 41]])})


def write_mtfl(folder: Path) -> None:
    write_photos(folder)
    lines = [f"{name}.png 10 30 20 12 28 20 20 30 40 40 1 2 2 3" for name in "ab"]
    (folder / "labels.txt").write_text("\n".join([*lines, ""]))


def beside_photos(reader: str) -> Reader:
    return lambda folder: read_labels(reader, f"data.images={folder}/photos")


def write_aflw(folder: Path) -> None:
    write_photos(folder)
    tables = {
        "Faces": ("face_id, file_id, db_id", [(1, "a.png", "flickr"), (2, "b.png", "flickr")]),
        "FaceImages": ("db_id, file_id, filepath", [("flickr", f"{name}.png", f"{name}.png") for name in "ab"]),
        "FeatureCoordTypes": ("feature_id, descr", list(enumerate(AFLW_POINTS, start=1))),
        "FeatureCoords": ("face_id, feature_id, x, y", [(face, i, 2 * i, i) for face in (1, 2) for i in range(1, 20)]),
        "FaceRect": ("face_id, x, y, w, h, annot_type_id", [(1, 0, 0, 40, 40, 1)]),
        "FaceMetadata": ("face_id, sex, occluded, glasses", [(1, "f", 0, 1)]),
    }
    with closing(sqlite3.connect(folder / "labels.sqlite")) as connection:
        for table, (columns, rows) in tables.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        connection.commit()


def write_dlc(folder: Path) -> None:
    write_photos(folder)
    columns = [(name, axis) for name in DRAWN for axis in "xy"]
    head = [["scorer", *["me"] * 10], ["bodyparts", *[n for n, _ in columns]], ["coords", *[a for _, a in columns]]]
    frames = [f"{name}.png,30,20,10,20,20,30,28,40,12,40" for name in "ab"]
    (folder / "labels.csv").write_text("\n".join([*map(",".join, head), *frames, ""]))


def write_yolo(folder: Path) -> None:
    write_photos(folder)
    (folder / "labels").mkdir()
    points = " ".join(
        f"{(x + 0.5) / 60} {(y + 0.5) / 50} 2" for x, y in ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40))
    )
    for name in "ab":
        (folder / "labels" / f"{name}.txt").write_text(f"0 0.4 0.5 0.7 0.8 {points}\n")
    dataset = {"train": "images", "names": {0: "face"}, "kpt_shape": [5, 3], "flip_idx": [1, 0, 2, 4, 3]}
    (folder / "data.yaml").write_text(yaml.safe_dump({**dataset, "kpt_names": {0: list(DRAWN)}}))


def write_labelme(folder: Path) -> None:
    write_photos(folder)
    points = zip(DRAWN, ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40)), strict=True)
    shape = {"shape_type": "point", "group_id": 1, "flags": {"occluded": False}}
    shapes = [{"label": name, "points": [[x, y]], **shape} for name, (x, y) in points]
    box = {"label": "face", "points": [[5, 5], [45, 45]], "shape_type": "rectangle", "group_id": 1}
    photo = {"imagePath": "a.png", "imageWidth": 60, "imageHeight": 50, "flags": {"blurred": True}}
    (folder / "photos" / "a.json").write_text(json.dumps({**photo, "shapes": [*shapes, box]}))


def write_via(folder: Path, is_csv: bool) -> None:
    write_photos(folder)
    points = zip(DRAWN, ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40)), strict=True)
    shapes = [({"name": "point", "cx": x, "cy": y}, {"part": name, "hidden": "no"}) for name, (x, y) in points]
    shapes.append(({"name": "rect", "x": 5, "y": 5, "width": 40, "height": 40}, {"pose": "large"}))
    regions = [{"shape_attributes": shape, "region_attributes": values} for shape, values in shapes]
    photo = {"filename": "a.png", "size": 7, "file_attributes": {"light": "dim"}, "regions": regions}
    with (folder / ("labels.csv" if is_csv else "labels.json")).open("w", newline="") as file:
        if not is_csv:
            json.dump({"_via_img_metadata": {"a.png7": photo}}, file)
            return
        header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
        lines = csv.writer(file)
        lines.writerow(header.split(","))
        for number, (shape, values) in enumerate(shapes):
            lines.writerow(["a.png", 7, '{"light":"dim"}', 6, number, json.dumps(shape), json.dumps(values)])


def write_via_3(folder: Path) -> None:
    write_photos(folder)
    points = ((30, 20), (10, 20), (20, 30), (28, 40), (12, 40))
    regions = [{"vid": "1", "z": [], "xy": [1, *xy], "av": {"1": str(i)}} for i, xy in enumerate(points)]
    regions += [{"vid": "1", "xy": [2, 5, 5, 40, 40], "av": {"2": "0,1"}}, {"vid": "1", "xy": [], "av": {"3": "dim"}}]
    project = {
        "attribute": {
            "1": {"aname": "part", "type": 3, "options": {str(i): name for i, name in enumerate(DRAWN)}},
            "2": {"aname": "pose", "type": 2, "options": {"0": "large", "1": "tilted"}},
            "3": {"aname": "light", "type": 1},
        },
        "file": {"1": {"fid": 1, "fname": "a.png", "type": 2}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": {f"1_{i}": region for i, region in enumerate(regions)},
    }
    (folder / "labels.json").write_text(json.dumps(project))


def labels_of(reader: str, file: str, write: Callable[[Path], None], scheme: str | None = None) -> Target:
    """The label file of a reader, in the folder of the photos, for one of facekp's schemes or for `five`."""

    def read(folder: Path) -> Any:
        paths = (f"data.images={folder}/photos", f"data.labels={folder}/{file}")
        return read_labels(reader, *paths, scheme=None if scheme is None else shipped(scheme))

    return Target(file, write, read)


def read_scheme(folder: Path) -> Keypoints:
    try:
        return Keypoints.from_dict(read_yaml(folder / "scheme.yaml"))
    except DamagedFile as error:
        raise UserError(str(error)) from error


# Photos.


def photo_of(name: str, **options: Any) -> Target:
    def write(folder: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name, **options)

    return Target(name, write, lambda folder: _as_photo(folder / name))


# Networks.


def write_checkpoint(folder: Path) -> None:
    shutil.copy(PACKAGED["shipped"], folder / "network.ckpt")


def write_pickle(folder: Path) -> None:
    with ZipFile(PACKAGED["shipped"]) as archive:
        (folder / "data.pkl").write_bytes(next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl")))


def read_pickle(folder: Path) -> Any:
    """Load the shipped checkpoint with another pickle, whose checksum is right."""
    path = folder / "network.ckpt"
    with ZipFile(PACKAGED["shipped"]) as shipped, ZipFile(path, "w") as archive:
        for name in shipped.namelist():
            content = (folder / "data.pkl").read_bytes() if name.endswith("data.pkl") else shipped.read(name)
            archive.writestr(ZipInfo(name), content)
    return load_checkpoint(path)


def write_network(folder: Path) -> None:
    write_small_onnx(folder / "network.onnx", PACKAGED["shipped"])


def read_network(folder: Path) -> Any:
    return load_onnx(folder / "network.onnx")


def read_network_again(folder: Path) -> Any:
    """Load an ONNX file with a new digest, as if it had been written so."""
    path = folder / "network.onnx"
    content = path.read_bytes()
    found = DIGEST_TEXT.search(content)
    if found is not None:
        path.write_bytes(content[: found.start(1)] + NO_DIGEST.encode() + content[found.end(1) :])
        write_digest(path)
    return load_onnx(path)


# The files of runs and sweeps.


def run_file(name: str, read: Callable[[RunFolder], Any]) -> Target:
    def write(folder: Path) -> None:
        shutil.copytree(FIXTURES / "run", folder / "run", ignore=shutil.ignore_patterns("*.ckpt", "*.png"))
        status = {"status": "ok", "message": "", "differs": {"lr": "1e-3"}}
        (folder / "run" / "status.json").write_text(json.dumps(status))

    return Target(f"run/{name}", write, lambda folder: read(RunFolder(folder / "run")))


def write_sweep(folder: Path) -> None:
    SweepFolder(folder).write_settings(["--config-dir=mine", "data=synthetic", "lr=1e-3,5e-4"], None)


TARGETS = {
    "training.csv": Target("training.csv", write_competition, read_competition),
    "test.csv": Target("test.csv", write_competition, read_competition_test),
    "IdLookupTable.csv": Target("IdLookupTable.csv", write_competition, read_competition_test),
    "labels.csv": Target("labels.csv", write_photos, lambda folder: read_folder(folder, "data.cache=null")),
    "coco": Target("labels.json", write_coco, read_coco),
    "imglab": labels_of("imglab", "labels.xml", write_imglab),
    "celeba": labels_of("celeba", "labels.txt", write_celeba, scheme="celeba5"),
    "aflw": labels_of("aflw", "labels.sqlite", write_aflw, scheme="aflw19"),
    "txt": Target("photos/a.txt", write_txt, beside_photos("txt")),
    "ljson": Target("photos/a.ljson", write_ljson, beside_photos("ljson")),
    "w300lp": Target("photos/a.mat", write_w300lp, beside_photos("w300lp")),
    "mtfl": labels_of("mtfl", "labels.txt", write_mtfl, scheme="celeba5"),
    "dlc": labels_of("dlc", "labels.csv", write_dlc),
    "yolo": labels_of("yolo", "data.yaml", write_yolo),
    "labels of yolo": replace(labels_of("yolo", "data.yaml", write_yolo), file="labels/a.txt"),
    "labelme": labels_of("labelme", "photos/a.json", write_labelme),
    "via": labels_of("via", "labels.json", partial(write_via, is_csv=False)),
    "via 3": labels_of("via", "labels.json", write_via_3),
    "via csv": labels_of("via", "labels.csv", partial(write_via, is_csv=True)),
    "scheme": Target(
        "scheme.yaml",
        lambda folder: shutil.copy(CONF_DIR / "keypoints" / "kaggle15.yaml", folder / "scheme.yaml"),
        read_scheme,
    ),
    "png": photo_of("photo.png"),
    "jpeg": photo_of("photo.jpg"),
    "gif": photo_of("photo.gif"),
    "webp": photo_of("photo.webp"),
    "tiff": photo_of("photo.tiff"),
    "bmp": photo_of("photo.bmp"),
    "checkpoint": Target("network.ckpt", write_checkpoint, lambda folder: load_checkpoint(folder / "network.ckpt")),
    "pickle": Target("data.pkl", write_pickle, read_pickle),
    "onnx": Target("network.onnx", write_network, read_network),
    "onnx with its digest": Target("network.onnx", write_network, read_network_again),
    "config.yaml": run_file("config.yaml", RunFolder.read_config),
    "overrides.yaml": run_file("overrides.yaml", RunFolder.read_overrides),
    "split.csv": run_file("split.csv", RunFolder.read_split),
    "metrics.csv": run_file("metrics.csv", RunFolder.read_curves),
    "metrics.json": run_file("metrics.json", RunFolder.read_metrics),
    "predictions.csv": run_file("predictions.csv", RunFolder.read_predictions),
    "status.json": run_file("status.json", RunFolder.read_status),
    "sweep.yaml": Target("sweep.yaml", write_sweep, lambda folder: SweepFolder(folder).read_overrides()),
}
