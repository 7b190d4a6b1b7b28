"""facekp.data.inspect and facekp.data.convert, as users type them."""

from __future__ import annotations

import json
import shlex
from functools import partial

import pytest
import yaml

from facekp.core.keypoints import Keypoints
from facekp.data import convert, inspect
from facekp.data.labels.scheme_guess import guess_scheme
from facekp.data.readers.read import read_table
from facekp.data.writers.base import WRITERS
from tests.data.label_samples import FACES, NAMES, write_coco
from tests.data.samples import data_settings


@pytest.fixture
def inspected(run_here, capfd):
    """Run inspect; the fixture returns its exit code, the printed lines and its stderr."""
    lines = []

    def run(*arguments, file="labels.json"):
        lines.clear()
        task = lambda cfg: lines.extend(inspect.main(cfg, [file]))  # noqa: E731
        code, err = run_here("inspect", task, *arguments)
        return code, lines, err

    return run


def test_a_file_is_described_with_its_problems_and_a_command(tmp_path, inspected):
    write_coco(tmp_path, [*FACES, {**FACES[1], "id": 13}, {**FACES[1], "id": 14, "bbox": 5}])
    code, lines, _ = inspected()
    assert code == 0
    for line in (
        "labels.json: data=coco",
        "faces: 4 in 2 photos, such as -1.png",
        "photos: in images",
        "points: 3, keypoints=labels, a new scheme; between 2 and 3 labelled in a face",
        "hidden points: 1 of 11",
        "boxes: 2 of 4 faces",
        "attribute pose: large (2), not stated (2)",
        "- 1 face with the points of another face of the same photo, the first: labels.json: annotations, id 13; "
        "remove the repeated labels",
        "- 1 face with points outside the photo, which count as missing, such as labels.json: annotations, id 7",
        "- 1 point outside the box of the face, which would count as missing; set data.boxes=points",
        "- 1 face whose box reaches beyond the photo, such as labels.json: annotations, id 7",
        "- only 4 faces: enough to try the commands, not to train",
    ):
        assert line in lines, lines
    assert any(line.startswith("- 1 face with errors left out (data.skip_broken=true), the first: ") for line in lines)
    assert lines[-1] == (
        "  python -m facekp.train --config-dir=DIR data=coco data.images=images data.labels=labels.json "
        "data.boxes=points data.skip_broken=true keypoints=labels data.folds=2"
    )
    (shown,) = [line for line in lines if line.startswith("# name")]
    assert Keypoints.from_dict(yaml.safe_load(shown)) == guess_scheme("labels", NAMES)


def test_the_folder_that_a_file_of_predict_names_is_a_hint(tmp_path, inspected):
    write_coco(tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    folder = str((tmp_path / "images").rename(tmp_path.parent / f"{tmp_path.name} photos"))
    (tmp_path / "labels.json").write_text(json.dumps({"info": {"folder": folder}} | content))
    code, lines, _ = inspected()
    assert code == 0
    hint = f"photos: not found beside the file; name their folder with images=FOLDER; the file names {folder!r}"
    assert hint in lines
    assert "data.images=FOLDER" in lines[-1]  # nothing was read there


def test_the_proposed_command_validates_on_the_files_own_part(tmp_path, inspected):
    parts = ["train", "val", "test"]
    write_coco(tmp_path, [{**face, "attributes": {"split": part}} for face, part in zip(FACES, parts, strict=True)])
    code, lines, _ = inspected()
    assert code == 0
    assert lines[-1].endswith(" 'data.held_out={split:val}' 'subset={split:train}'")
    write_coco(tmp_path, [{**face, "attributes": {"split": "train"}} for face in FACES])
    assert "held_out" not in inspected()[1][-1]


def write_parts(folder):
    """Faces with the parts of a data set, and with the videos 03 and 1e5."""
    attributes = [{"split": part, "video": video} for part, video in (("train", "03"), ("val", "1e5"), ("test", "03"))]
    write_coco(folder, [{**face, "attributes": given} for face, given in zip(FACES, attributes, strict=True)])


def test_chosen_faces_are_described_and_the_proposed_command_chooses_them_too(tmp_path, inspected):
    write_parts(tmp_path)
    code, lines, _ = inspected("data=coco", "data.only={video: ['03', x y]}")
    assert code == 2
    code, lines, _ = inspected("data=coco", "data.only={video: ['03', '1e5'], split: [train, val]}")
    assert code == 0
    assert lines[1].startswith("faces: 2 in ")
    arguments = shlex.split(lines[-1])
    assert "data.only={video:['03','1e5'],split:[train,val]}" in arguments
    code, lines, _ = inspected("data=coco", next(text for text in arguments if text.startswith("data.only=")))
    assert code == 0
    assert lines[1].startswith("faces: 2 in ")


def test_only_chosen_faces_are_converted_and_their_groups_and_parts_are_kept_where_the_format_has_them(
    tmp_path, run_here, caplog
):
    write_parts(tmp_path)
    task = partial(convert.main, names=["labels.json"])
    given = ("data=coco", "data.group_by=[video]", "overwrite=true")
    with caplog.at_level("INFO"):
        assert run_here("convert", task, *given, "data.only={split: val}", "format=coco", "out=one")[0] == 0
        assert "(1 face)" in caplog.text
        assert run_here("convert", task, *given, "format=coco", "out=all")[0] == 0
        assert caplog.messages[-1].endswith(
            " 'data.group_by=[video]' 'data.held_out={split:val}' 'subset={split:train}'"
        )
        assert run_here("convert", task, *given, "format=imglab", "out=xml")[0] == 0
        assert "split" not in caplog.messages[-1].partition("keypoints=")[2]


def test_the_proposed_command_reads_the_file_with_the_written_scheme(tmp_path, inspected):
    write_coco(tmp_path)
    code, lines, _ = inspected("out=mine", "data=coco", "data.occluded=false")
    assert code == 0
    command = lines[-1].split()
    assert "--config-dir=mine" in command
    assert "data.occluded=false" in command
    scheme = Keypoints.from_dict(yaml.safe_load((tmp_path / "mine" / "keypoints" / "labels.yaml").read_text()))
    settings = data_settings(*(word for word in command if word.startswith("data")), "data.cache=null")
    table = read_table(settings, scheme)
    assert sorted(table.row) == [7, 12]  # face 11 has one point in view, which is no position without its box
    assert table.attributes["pose"][table.row == 12].tolist() == ["large"]


def test_the_proposed_command_names_the_config_folder_and_the_plug_ins(tmp_path, inspected):
    write_coco(tmp_path)
    inspected("out=mine")
    (tmp_path / "mine/keypoints/labels.yaml").rename(tmp_path / "mine/keypoints/own.yaml")
    code, lines, _ = inspected("--config-dir=mine", "keypoints=own", "plugins=[tests.drawn_photos]")
    assert code == 0
    assert "--config-dir=mine" in lines[-1]
    assert lines[-1].endswith(" 'plugins=[tests.drawn_photos]'")
    assert not [line for line in lines if "new scheme" in line or "save it as" in line]  # it has a file


@pytest.mark.parametrize(
    ("form", "labels", "data"),
    [
        ("csv", "new/labels.csv", "data=folder data.images=images"),
        ("coco", "new/labels.json", "data=coco data.images=images"),
        ("labelme", "new", "data=labelme data.images=images"),
        ("yolo", "new/data.yaml", "data=yolo data.images=new"),
    ],
)
def test_a_file_is_converted_with_its_scheme(tmp_path, run_here, caplog, form, labels, data):
    write_coco(tmp_path)
    caplog.set_level("INFO")
    code, _ = run_here("convert", partial(convert.main, names=["labels.json"]), "out=new", f"format={form}")
    assert code == 0
    assert f"written: {labels} (3 faces)" in caplog.messages
    assert (tmp_path / labels).exists()
    assert yaml.safe_load((tmp_path / "new" / "keypoints" / "labels.yaml").read_text())["names"] == NAMES
    assert (
        f"--config-dir=new {data} data.labels={labels} data.boxes=points keypoints=labels data.folds=2"
        in caplog.messages[-1]  # as inspect proposes it
    )


def test_what_a_plug_in_s_writer_returned_is_checked(tmp_path, run_here, monkeypatch):
    write_coco(tmp_path)
    WRITERS.names()
    monkeypatch.setitem(WRITERS.entries, "csv", lambda folder, file: folder / "labels.csv")
    code, err = run_here("convert", partial(convert.main, names=["labels.json"]), "out=new", "format=csv")
    assert (code, "format=csv: the writer returned PosixPath, not Written" in err) == (2, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        ([], ["out=x"], "0 files are named; name one label file"),
        (["a", "b"], ["out=x"], "2 files are named"),
        (["nowhere.json"], ["out=x"], "nowhere.json: does not exist"),
        (["labels.json"], [], "out is needed"),
        (
            ["labels.json"],
            ["out=x", "format=xml"],
            "format=xml: choose one of coco, csv, cvat, imglab, labelme, labelstudio, pts, yolo",
        ),
        (["labels.json"], ["out=x", "data=kaggle"], "data=kaggle: does not read label files of photos"),
        (["labels.json"], ["out=x", "data=coco", "data.category=cat"], "data.category=cat: labels.json has no such"),
        (["labels.json"], ["out=x", "keypoints=celeba5"], "its 3 points are not the 5 of keypoints celeba5"),
        (["labels.json"], ["out=images"], "images"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, run_here, names, arguments, message):
    write_coco(tmp_path)
    code, err = run_here("convert", partial(convert.main, names=names), *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
