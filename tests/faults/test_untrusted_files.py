"""Files of strangers, a row for each kind: refused in one line, in bounded time and memory, and nothing in them runs.

What a config folder may name is in tests/config/test_trust.py.
"""

import gzip
import io
import json
import lzma
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import yaml
from PIL import Image

from facekp import train
from facekp.config.command import read_settings
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.competition import read_test_csv, read_training_csv
from facekp.data.images import UnreadableImage, read_image
from facekp.data.labels.text import read_csv, read_text
from facekp.data.readers.read import read_table
from facekp.models.checkpoint import load_checkpoint
from facekp.photos.detectors import default_detector
from facekp.photos.run import predict
from facekp.photos.settings import PredictSettings
from facekp.runs.resume_arguments import resume_text
from facekp.runs.sweeps.arguments import rewrite_arguments
from tests.conftest import REPOSITORY, TINY, composed
from tests.data.samples import data_settings
from tests.drawn_photos import five, write_photos

MEGABYTE = 2**20
CKPT = REPOSITORY / "tests" / "fixtures" / "v0_1" / "run" / "checkpoints" / "best.ckpt"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def bounded_memory(request):
    """No refused file takes more than 300 MB on the way."""
    if "run_here" in request.fixturenames:  # a training
        yield
        return
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300 * MEGABYTE


def refused(call, *words):
    """The message of a call that refuses a file: one line with these words."""
    with pytest.raises((UserError, UnreadableImage)) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    assert all(word in message for word in words), message
    return message


# Label files


def zipped(content, compression=zipfile.ZIP_DEFLATED, name="labels.csv"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def damaged(content):
    """A compressed file with broken bytes in its middle."""
    middle = len(content) // 2
    return content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 20]) + content[middle + 20 :]


TEXT = b"name,a_x,a_y\n" + os.urandom(40_000).hex().encode()
LABELS = {
    "a zip file with damaged LZMA": damaged(zipped(TEXT, zipfile.ZIP_LZMA)),
    "a zip file with damaged deflate": damaged(zipped(TEXT)),
    "a zip file that is cut off": zipped(TEXT)[:-40],
    "a damaged .xz": damaged(lzma.compress(TEXT)),
    "a .xz that is cut off": lzma.compress(TEXT)[:-40],
    "a damaged .gz": damaged(gzip.compress(TEXT)),
    "a .gz that is cut off": gzip.compress(TEXT)[:-20],
    "an unknown compression": zipped(TEXT).replace(b"\x08\x00", b"\x63\x00"),
    "a header of zip and nothing else": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_damaged_label_file(tmp_path, kind):
    path = tmp_path / "labels"
    path.write_bytes(LABELS[kind])
    refused(lambda: read_text(path), str(path))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zipped], ids=["gz", "xz", "zip"])
def test_a_small_file_that_stands_for_a_large_text(tmp_path, monkeypatch, compress):
    monkeypatch.setattr("facekp.data.labels.text.MAX_TEXT_BYTES", MEGABYTE)
    path = tmp_path / "labels"
    path.write_bytes(compress(b"\0" * 50 * MEGABYTE))
    assert path.stat().st_size < 100_000
    refused(lambda: read_text(path), str(path), "more than")


def test_pipes_and_folders_in_place_of_files(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    os.mkfifo(tmp_path / "all.zip")
    refused(lambda: read_csv(pipe), "not a regular file")
    refused(lambda: read_image(str(pipe)), "not a regular file")
    refused(lambda: read_training_csv(tmp_path, five()), "not a regular file")


SCHEME = Keypoints.from_dict({"name": "one", "names": ["a"]})


@pytest.mark.parametrize("blank", [b"\n", b" " * 4000 + b"\n", b"\r\n"])
def test_blank_lines_without_end_in_a_zip_file(tmp_path, blank):
    (tmp_path / "training.zip").write_bytes(
        zipped(b"a_x,a_y,Image\n" + blank * (20 * MEGABYTE // len(blank)), name="training.csv")
    )
    refused(lambda: read_training_csv(tmp_path, SCHEME), "training.csv", "blank lines")


def test_a_zip_of_the_competition_with_damaged_lzma(tmp_path):
    content = b"ImageId,Image\n" + b"".join(b"%d,%s\n" % (n, os.urandom(3000).hex().encode()) for n in range(40))
    (tmp_path / "test.zip").write_bytes(damaged(zipped(content, zipfile.ZIP_LZMA, "test.csv")))
    (tmp_path / "IdLookupTable.csv").write_text("RowId,ImageId,FeatureName\n1,1,a_x\n")
    refused(lambda: read_test_csv(tmp_path, SCHEME), "test.csv")


def test_zip_files_inside_a_zip_file_are_searched_in_bounded_time(tmp_path):
    inner = zipped(b"x" * 100_000, name="other.csv")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(300):
            archive.writestr(f"{number}/training.zip", inner)
    refused(lambda: read_training_csv(tmp_path, SCHEME), "training.csv not found")


# COCO


@pytest.fixture
def coco(tmp_path):
    """A folder with photos and COCO labels; the function reads them after a change."""
    write_photos(tmp_path, 2)
    names = sorted(path.name for path in (tmp_path / "photos").iterdir())
    content = {
        "images": [{"id": 1, "file_name": names[0]}],
        "categories": [{"id": 1, "name": "face", "keypoints": list(five().names)}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": [20, 20, 2, 40, 20, 2, 30, 30, 2, 22, 40, 2, 38, 40, 2],
            }
        ],
    }

    def read(change=lambda content: None, *more, text=None):
        change(content)
        (tmp_path / "labels.json").write_text(json.dumps(content) if text is None else text)
        paths = (f"data.images={tmp_path}/photos", f"data.labels={tmp_path}/labels.json", "data.cache=null")
        return read_table(data_settings("data=coco", *paths, *more), five())

    read.names, read.folder = names, tmp_path
    return read


def file_name(name):
    return lambda content: content["images"][0].update(file_name=name)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "a/../../secret.png", "../photos_2/x.png", ".", ""])
def test_a_label_file_names_no_photo_outside_its_folder(coco, name):
    Image.new("L", (60, 60)).save(coco.folder / "secret.png")
    message = refused(lambda: coco(file_name(name)))
    assert ("is outside" in message and "data.anywhere=true" in message) or name == ""


def test_photos_elsewhere_can_be_allowed(coco):
    outside = coco.folder / "secret.png"
    Image.open(coco.folder / "photos" / coco.names[0]).save(outside)
    assert len(coco(file_name("../secret.png"), "data.anywhere=true")) == 1
    assert len(coco(file_name(str(outside)), "data.anywhere=true")) == 1
    assert len(coco(file_name(str(coco.folder / "photos" / coco.names[0])))) == 1  # absolute, but in the folder


COCO = {
    "a zero in a name": (file_name("a\0b.png"), "can't be the name of a file"),
    "half a character": (file_name("\ud800.png"), "can't be the name of a file"),
    "an id of 30 digits": (lambda c: c["annotations"][0].update(id=10**30), "give a whole number"),
    "an infinite id": (lambda c: c["annotations"][0].update(id=float("inf")), "give a whole number"),
    "an id of 5000 digits": (lambda c: c["annotations"][0].update(id="1" * 5000), "give a whole number"),
    "coordinates that are not finite": (lambda c: c["annotations"][0]["keypoints"].__setitem__(0, 1e999), "finite"),
    "a negative size": (lambda c: c["images"][0].update(width=-5, height=1e300), "width and height"),
}


@pytest.mark.parametrize("kind", COCO)
def test_a_faulty_coco_file(coco, kind):
    change, words = COCO[kind]
    refused(lambda: coco(change), words)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images":' + "[" * 100_000, f'{{"images": [{"1" * 5000}]}}', "\0", "null"]
)
def test_json_that_is_none(coco, text):
    refused(lambda: coco(text=text), "labels.json")


# Photos


def png_of(width, height):
    """A PNG of any size, whose rows are all zeros: 1000 times smaller than its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * min((width + 1) * height, 10 * MEGABYTE), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80), np.uint8)).save(file, "jpeg")
    return file.getvalue()


PHOTOS = {
    "empty.jpg": b"",
    "cut.jpg": jpeg()[:600],
    "bomb.png": png_of(60_000, 60_000),
    "row.png": png_of(70_000, 1),
    "text.jpg": b"hello",
    "profile.png": png_of(10, 10).replace(b"IDAT", b"ID\0T"),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_that_can_t_be_read(tmp_path, name):
    (tmp_path / name).write_bytes(PHOTOS[name])
    with pytest.raises((UnreadableImage, OSError)):
        read_image(str(tmp_path / name))


@pytest.mark.parametrize("detector", ["yunet", "haar", "none"])
def test_other_photos_are_predicted_all_the_same(tmp_path, faces, detector):
    for name, content in PHOTOS.items():
        (tmp_path / name).write_bytes(content)
    Image.new("L", (30_000, 1)).save(tmp_path / "a_row.png")
    Image.new("L", (1, 30_000)).save(tmp_path / "b_column.png")
    Image.fromarray(faces.images[0]).save(tmp_path / "z_face.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "out").mkdir()
    settings = composed(f"ckpt={CKPT}", f"detector={detector}", f"out={tmp_path}/out", name="predict")
    outcome = predict(read_settings(settings, PredictSettings), [str(path) for path in sorted(tmp_path.glob("*.*"))])
    assert outcome.photos == 3
    assert {os.path.basename(name) for name in outcome.unreadable} == {*PHOTOS, "pipe.png"}
    assert (tmp_path / "out" / "points.csv").is_file()


@pytest.mark.parametrize("name", ["yunet", "haar"])
def test_a_long_thin_photo_has_no_face(name):
    detector = default_detector(name)
    for shape in ((1, 30_000), (30_000, 1), (3, 3), (1, 1)):
        assert detector.find(np.zeros((*shape, 3), np.uint8)).shape == (0, 4)


# A sweep of somebody else


STORED = {
    "--config-dir=/tmp/theirs": "--config-dir=/tmp/theirs",
    "--experimental-rerun=a.pkl": "--experimental-rerun=a.pkl",
    "hydra.callbacks.x._target_=joblib.load": "hydra.callbacks.x._target_",
    "+hydra.job.env_set.PYTHONPATH=/tmp": "hydra.job.env_set",
    "hydra/launcher=joblib\nhydra.launcher.x._target_=a": "hydra.launcher.x",
    "callbacks.x._target_=antigravity.X": "callbacks.x._target_=antigravity.X",
    "plugins=[antigravity]": "plugins=[antigravity]",
    "hparams_search.storage=postgresql://x:${oc.env:HOME}@evil/": "hparams_search.storage",
}


@pytest.mark.parametrize("stored", STORED)
def test_a_sweep_folder_gives_no_options_and_no_code(tmp_path, stored):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"overrides": [*stored.split("\n"), "lr=1,2"]}))
    refused(
        lambda: rewrite_arguments([f"sweep.resume={tmp_path}"]),
        f"sweep.resume={tmp_path}",
        "the sweep needs",
        STORED[stored],
    )
    if "plugins" not in stored and "\n" not in stored:
        again = rewrite_arguments([stored, f"sweep.resume={tmp_path}"])
        assert again == ["-m", stored, "lr=1,2", f"hydra.sweep.dir={tmp_path}"]


def test_a_sweep_folder_gives_its_launcher(tmp_path):
    stored = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=/etc", "lr=1,2"]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"overrides": stored}))
    assert rewrite_arguments([f"sweep.resume={tmp_path}"]) == [
        "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "lr=1,2", f"hydra.sweep.dir={tmp_path}"
    ]  # fmt: skip


# Secrets


def test_a_secret_is_in_no_file_of_a_run(tmp_path, run_here, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter22-hunter22")
    given = [
        "logger=[csv,tensorboard]",
        "logger.faces=1",
        "++logger.tags=['${oc.env:MY_SECRET}']",
        "trainer.max_epochs=1",
        "out=run",
    ]
    code, err = run_here("train", train.main, *TINY, *given)
    assert code == 0, err
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path.name for path in files if b"hunter22" in path.read_bytes()] == []
    assert "hunter22" not in err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["logger"]["tags"] == ["${oc.env:MY_SECRET}"]
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt").config["logger"]["tags"] == [
        "${oc.env:MY_SECRET}"
    ]
    code, err = run_here("train", train.main, "resume=run", "trainer.max_epochs=2")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "logger.tags.0=${oc.env:MY_SECRET}: refers to the environment" in err


def test_a_scheme_of_somebody_else_reads_no_variable(tmp_path, run_here, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter22-hunter22")
    (tmp_path / "conf" / "keypoints").mkdir(parents=True)
    (tmp_path / "conf" / "keypoints" / "mine.yaml").write_text("name: '${oc.env:MY_SECRET}'\nnames: [a]\n")
    code, err = run_here("train", train.main, "--config-dir=conf", "keypoints=mine", "data=synthetic")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "keypoints.name=${oc.env:MY_SECRET}: is part of every checkpoint" in err


def test_the_url_of_a_search_is_in_no_file_and_no_message(tmp_path, run_here, monkeypatch):
    monkeypatch.setenv("DB_URL", "postgresql://me:hunter22@127.0.0.1:1/runs")
    search = ["-m", "hparams_search=optuna", "data=synthetic", "lr=1e-3,1e-4", "hydra.sweep.dir=s"]
    code, err = run_here("train", train.main, *search, "hparams_search.storage='${oc.env:DB_URL}'")
    assert code == 2
    assert err.startswith("facekp: error: hparams_search.storage=${oc.env:DB_URL}: "), err
    assert "hunter22" not in err
    stored = (tmp_path / "s" / "sweep.yaml").read_text()
    assert "hunter22" not in stored
    assert yaml.safe_load(stored)["search"]["storage"] == "${oc.env:DB_URL}"
    code, err = run_here(
        "train", train.main, *search, "hparams_search.storage=postgresql://me:other-word@127.0.0.1:1/runs"
    )
    assert (code, len(err.splitlines())) == (2, 1)
    assert "postgresql://me:***@127.0.0.1:1/runs: holds a password" in err


CALLBACK = """
from pytorch_lightning import Callback

class Mine(Callback):
    pass
"""


def test_the_class_of_a_callback_is_given_again_to_a_resumed_run(tmp_path, run_here):
    (tmp_path / "mine_callback.py").write_text(CALLBACK)
    given = "callbacks.mine._target_=mine_callback.Mine"
    code, err = run_here("train", train.main, *TINY, given, "trainer.max_epochs=1", "out=run")
    assert code == 0, err
    code, err = run_here("train", train.main, "resume=run", "trainer.max_epochs=2")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "callbacks.mine._target_=mine_callback.Mine: a file names it, so it is not imported" in err
    code, err = run_here("train", train.main, "resume=run", given, "trainer.max_epochs=2")
    assert code == 0, err
    assert resume_text(tmp_path / "run", []) == f"resume={tmp_path}/run {given}"


LOGGER = """
from pytorch_lightning.loggers import CSVLogger

class Mine(CSVLogger):
    def __init__(self, name):
        super().__init__("mine", name)
"""


def test_the_class_of_a_logger_is_given_again_and_its_arguments_are_kept(tmp_path, run_here):
    (tmp_path / "mine_logger.py").write_text(LOGGER)
    given = ["logger.mine._target_=mine_logger.Mine", "logger.mine.name=first"]
    code, err = run_here("train", train.main, *TINY, *given, "trainer.max_epochs=1", "out=run")
    assert code == 0, err
    again = resume_text(tmp_path / "run", []).split()
    assert again == [f"resume={tmp_path}/run", given[0]]
    code, err = run_here("train", train.main, *again, "trainer.max_epochs=2")
    assert code == 0, err
    logger = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["logger"]
    assert logger["mine"] == {"_target_": "mine_logger.Mine", "name": "first"}
