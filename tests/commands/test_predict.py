"""`predict`, `detection_benchmark` and `app` as users type them."""

import json
import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from facekp.core.errors import CannotWrite
from facekp.core.signals import Stopped
from facekp.photos.run import Outcome
from facekp.predict import main
from tests.conftest import REPOSITORY, facekp

CKPT = f"ckpt={REPOSITORY / 'tests' / 'fixtures' / 'v0_1' / 'run' / 'checkpoints' / 'best.ckpt'}"

PLUGIN = """
import numpy as np
from facekp.photos.detectors import FACE_DETECTORS, FaceDetector

@FACE_DETECTORS.register("upper_left")
class UpperLeft(FaceDetector):
    margin = 1.0

    def __init__(self, side: int = 50) -> None:
        self.side = side

    def find(self, image):
        return np.array([[-0.5, -0.5, self.side - 0.5, self.side - 0.5]])
"""


def error_of(done):
    """The one line that a mistake prints."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def entries_in(out):
    return json.loads((out / "points.json").read_text())


def test_files_that_cannot_be_read_are_skipped_with_a_line_and_exit_code_1(tmp_path, faces):
    odd = os.fsdecode(b"\xff=[red].png")
    Image.fromarray(faces.images[0]).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / odd)
    Image.fromarray(np.full((60, 60), 90, np.uint8)).save(tmp_path / "plain.png")
    (tmp_path / "broken.jpg").write_bytes(b"abc")
    done = facekp("predict", CKPT, "out=out", "plain.png", "broken.jpg", "--", odd, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "skipped: broken.jpg: is damaged, or in a format that is not read" in done.stderr
    assert "0 faces in 2 photos, 2 without a face" in done.stderr
    entries = entries_in(tmp_path / "out")
    assert [entry["file"] for entry in entries] == ["plain.png", odd]
    assert entries[0]["faces"] == []


def test_mistakes_are_one_line_and_exit_code_2(tmp_path, faces):
    assert "nowhere.jpg: no such file or folder" in error_of(facekp("predict", "nowhere.jpg", cwd=tmp_path))
    assert "no photo given" in error_of(facekp("predict", cwd=tmp_path))
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    line = error_of(facekp("predict", "a.png", "detector.smallest=5", cwd=tmp_path))
    assert "detector.smallest=5: must be at least 8" in line


@pytest.mark.parametrize("detector", ["upper_left", "upper_left detector.side=30"])
def test_a_face_detector_of_a_plug_in_is_chosen_by_its_name(tmp_path, faces, detector):
    (tmp_path / "my_detectors.py").write_text(PLUGIN)
    Image.fromarray(faces.images[0]).save(tmp_path / "a.png")
    chosen = f"detector={detector}".split()
    done = facekp(
        "predict", "a.png", "plugins=[my_detectors]", *chosen, CKPT, "refine=false", "min_confidence=null", "out=out",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ((face,),) = (entry["faces"] for entry in entries_in(tmp_path / "out"))
    side = 30 if "side" in detector else 50
    assert face["box"] == [-0.5, -0.5, side - 0.5, side - 0.5]


def test_the_former_name_of_the_detection_benchmark_names_the_new_one(tmp_path):
    arguments = ("data=synthetic", "data.rows=40", CKPT, "faces=1", "scales=[1]", "detector=none")
    done = facekp("scenes", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "facekp: scenes is now called detection_benchmark"
    assert "dense" in done.stdout
    helped = facekp("scenes", "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "facekp: scenes is now called detection_benchmark\n")
    assert "python -m facekp.detection_benchmark" in helped.stdout


@pytest.mark.parametrize("command", ["predict", "app", "detection_benchmark"])
def test_help_explains_every_key(tmp_path, command):
    done = facekp(command, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ONNX file of another YuNet" in " ".join(done.stdout.split())
    assert "side of the smallest face that is searched, pixels of the photo" in " ".join(done.stdout.split())


def test_each_call_has_its_own_folder_and_an_earlier_one_is_replaced_only_if_asked_to(run_here, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(tmp_path / f"{name}.png")

    def predict(name, *more):
        return run_here("predict", partial(main, names=[f"{name}.png"]), CKPT, "detector=none", *more)

    for name in ("a", "b"):
        assert predict(name)[0] == 0
    assert len(list((tmp_path / "outputs" / "predict").iterdir())) == 2
    assert predict("a", "out=o")[0] == 0
    code, err = predict("b", "out=o")
    assert code == 2
    assert "out=o: holds " in err
    assert predict("b", "out=o", "overwrite=true")[0] == 0
    assert [path.name for path in (tmp_path / "o" / "pictures").iterdir()] == ["0001_b.jpg"]
    assert predict("none", "out=new")[0] == 2
    assert not (tmp_path / "new").exists()


STOPS = {130: KeyboardInterrupt(), 143: Stopped(143), 2: CannotWrite("points.json: cannot be written (full)")}


@pytest.mark.parametrize("code", STOPS)
def test_a_prediction_that_is_stopped_says_how_far_it_came(run_here, monkeypatch, caplog, code):
    outcome = Outcome(2, 0, 2, 0, 0, [], [], STOPS[code], 5)
    monkeypatch.setattr("facekp.photos.run.predict", lambda settings, names: outcome)
    found, err = run_here("predict", partial(main, names=["a.jpg"]), CKPT, "out=out")
    assert found == code
    assert "stopped: the tables hold 2 photos; 5 files were to be read" in caplog.messages
    assert err.count("facekp: error: points.json: cannot be written (full)\n") == (code == 2)
    assert "Traceback" not in err
