"""Every command of docs/own_landmarks.md runs on drawn photos, in its order, in a fresh process."""

import os
import re
import shlex
import time

import pandas as pd
import pytest

from facekp.models.checkpoint import load_checkpoint
from tests.commands.test_report import blocks_of, content_of
from tests.conftest import REPOSITORY, TINY, facekp
from tests.drawn_photos import write_photos
from tests.forked import started_module

TEXT = (REPOSITORY / "docs" / "own_landmarks.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line]
FILES = re.findall(r"^`(\S+\.yaml)`.*?\n\n```yaml\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
SMALL = {  # what makes a command quick
    "train": [override for override in TINY if not override.startswith("data")],
    "report": ["faces=2", "resamples=100"],
    "predict": ["refine=false"],  # this network is unsure of every face, and would search each at four angles
    "export": ["check=8", "decoder=argmax"],  # other rules take twice as long to trace
}
SERVERS = ("app",)  # run until they are stopped
TIMEOUT = 180.0  # seconds a server has to say where it is
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder that the tutorial starts with."""
    folder = tmp_path_factory.mktemp("tutorial")
    labels = write_photos(folder, 60, boxes=True)
    new = labels["name"].isin(labels["name"].unique()[-8:])
    labels[~new].to_csv(folder / "labels.csv", index=False)
    labels[new].to_csv(folder / "new.csv", index=False)
    for name, content in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def serve(name, arguments, cwd):
    """Start a server, and stop it once it tells its address."""
    with started_module(f"facekp.{name}", arguments, cwd, os.environ) as (process, printed):
        started = time.monotonic()
        while "http://" not in (said := "".join(file.read_text() for file in printed if file.exists())):
            assert process.is_alive(), said
            assert time.monotonic() - started < TIMEOUT, said
            time.sleep(0.1)
        process.terminate()
        process.join(60)


@pytest.fixture(scope="module")
def ran(home):
    """The names of the commands, each run after the other."""
    names = []
    for command in COMMANDS:
        name, *arguments = shlex.split(command)[2:]
        name = name.removeprefix("facekp.")
        if name in SERVERS:
            serve(name, arguments, home)
        else:
            done = facekp(name, *arguments, *SMALL.get(name, []), cwd=home, FACEKP_CACHE=str(home / "cache"))
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        names.append(name)
    return names


def test_the_commands_run_in_their_order(ran):
    assert [name for name, _ in FILES] == ["landmarks/keypoints/points5.yaml", "landmarks/data/portraits.yaml"]
    assert ran == ["report", "train", "report", "evaluate", "pack", "calibrate", "predict", "export", "app"]


def test_the_packed_checkpoint_knows_the_scheme_and_no_path(ran, home):
    packed = load_checkpoint(home / "five.ckpt")
    assert (packed.model.keypoints.name, packed.model.codec.size) == ("points5", (96, 96))
    assert packed.config["data"]["labels"] is None
    best = load_checkpoint(home / "outputs" / "five" / "checkpoints" / "best.ckpt")
    assert best.config["data"]["labels"] == str(home / "labels.csv")


def test_the_pages_show_the_faces_and_where_doubtful_labels_are_in_their_photos(ran, home):
    for page, least in (("labels.html", 2), ("report.html", 4)):
        assert len(content_of(home / "outputs" / page)["images"]) >= least
    labelled = pd.read_csv(home / "labels.csv")
    for row in blocks_of(content_of(home / "outputs" / "labels.html")["sections"])["suspicious-labels"]["rows"]:
        own, point = labelled.iloc[row["row"] - 1], row["keypoint"].replace(" ", "_")
        name, place = row["photo"].split(": ")
        assert name == own["name"]
        expected = [own[f"{point}_{axis}"] for axis in "xy"]
        assert [float(one) for one in place.split(", ")] == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(("folder", "labels"), [("five", "labels.csv"), ("five_new", "new.csv")])
def test_predictions_speak_the_photos_pixels(ran, home, folder, labels):
    found = pd.read_csv(home / "outputs" / folder / "predictions.csv")
    labelled = pd.read_csv(home / labels)
    assert set(found["name"]) <= set(labelled["name"])
    told = found.merge(labelled.assign(row=range(1, len(labelled) + 1)), on="row")
    for point, own in told.groupby("keypoint"):
        assert own["photo_true_x"].tolist() == pytest.approx(own[f"{point}_x"].tolist(), abs=2e-3)
