"""examples/plugin: one of each kind of plug-in, installed into a fresh environment or named by plugins=."""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from facekp.data.synthetic.faces import draw_faces
from tests.conftest import REPOSITORY, facekp

EXAMPLE = REPOSITORY / "examples" / "plugin"
TINY = [
    "data.rows=60",
    "trainer.max_epochs=1",
    "callbacks.progress=false",
    "callbacks.pictures=0",
    "model=example_unet",
    "model.network.channels=8",
    "loss=example_focal",
    "loss.gamma=0.5",
    "optimizer=example_signsgd",
    "scheduler=example_linear",
    "decoder.rule=example_softargmax",
    "augment.transforms=[{name: example_vignette, strength: 0.3}]",
    "callbacks.timer._target_=facekp_example.callback.StepTimer",
    "callbacks.timer.skip=0",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of packages of a fresh environment into which the example package is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    here = sysconfig.get_path("purelib")
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "this_environment.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", str(EXAMPLE)]
    pip = [sys.executable, "-m", "pip", "--python", str(python)]  # its own one would take ten seconds to install
    done = subprocess.run([*pip, *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def run(command, *arguments, cwd, path=None):
    """Run a command with the packages in a folder."""
    return facekp(command, *arguments, cwd=cwd, **({"PYTHONPATH": str(path)} if path else {}))


@pytest.fixture(scope="module")
def installed(site, tmp_path_factory) -> Path:
    """A folder with photos, labels in the example's format, and a run that uses every kind of plug-in."""
    home = tmp_path_factory.mktemp("plugin")
    scheme = yaml.safe_load((REPOSITORY / "conf" / "keypoints" / "kaggle15.yaml").read_text())
    from facekp.core.keypoints import Keypoints

    faces = draw_faces(60, 0, Keypoints.from_dict(scheme))
    (home / "photos").mkdir()
    with (home / "labels.jsonl").open("w") as labels:
        for i, (image, points) in enumerate(zip(faces.images, faces.points, strict=True)):
            cv2.imwrite(str(home / "photos" / f"{i}.png"), image)
            known = {n: p.tolist() for n, p in zip(scheme["names"], points, strict=True) if not np.isnan(p).any()}
            labels.write(json.dumps({"photo": f"{i}.png", "points": known}) + "\n")
    done = run("train", *photo_data(), *TINY, "logger=tensorboard", "out=run", cwd=home, path=site)
    assert done.returncode == 0, done.stderr
    return home


def photo_data():
    return ["data=example_jsonl", "data.images=photos", "data.labels=labels.jsonl", "data.cache=null"]


def test_every_kind_takes_part_in_a_training(installed):
    config = yaml.safe_load((installed / "run" / "config.yaml").read_text())
    assert config["model"]["network"] == {"name": "example_unet", "stride": 4, "channels": 8}
    assert config["loss"]["gamma"] == 0.5
    metrics = json.loads((installed / "run" / "metrics.json").read_text())
    assert 0 <= metrics["example_failures"] <= 1
    curves = pd.read_csv(installed / "run" / "metrics.csv")
    assert {"val/example_failures", "step_seconds"} <= set(curves)
    assert "photo_x" in pd.read_csv(installed / "run" / "predictions.csv")


@pytest.mark.slow
def test_resume_evaluate_export_report_and_predict_know_the_plug_ins(installed, site):
    predict = "predict", "photos/0.png", "min_confidence=null"  # two epochs make no sure network
    commands = [
        ("train", "resume=run", "trainer.max_epochs=2"),
        ("evaluate", "ckpt=run/checkpoints/best.ckpt", *photo_data(), "out=scored"),
        ("export", "ckpt=run/checkpoints/best.ckpt", "out=net.onnx", "data=synthetic", "data.rows=40", "check=8"),
        ("report", "run", "out=report.html", "faces=0"),
        (*predict, "ckpt=run/checkpoints/best.ckpt", "detector=example_centre", "out=found"),
        ("data.convert", "found/coco.json", "images=photos", "out=written", "format=example_jsonl"),
    ]
    for command, *arguments in commands:
        done = run(command, *arguments, cwd=installed, path=site)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert "example_failures" in json.loads((installed / "scored" / "metrics.json").read_text())
    assert "faces with a point off by more than 5 px" in (installed / "report.html").read_text()
    assert len(pd.read_csv(installed / "found" / "points.csv")) == 15
    assert len(json.loads((installed / "written" / "labels.jsonl").read_text())["points"]) == 15


def test_a_machine_without_the_plug_in_names_the_package(installed):
    done = run("evaluate", "ckpt=run/checkpoints/best.ckpt", "data=synthetic", cwd=installed)
    assert done.returncode == 2
    assert "example_unet" in done.stderr
    assert "pip install facekp-example" in done.stderr
    resumed = run("train", "resume=run", "trainer.max_epochs=3", cwd=installed)
    assert resumed.returncode == 2
    assert "pip install facekp-example" in resumed.stderr


@pytest.mark.slow
def test_a_module_named_by_plugins_works_in_sweeps_and_processes(tmp_path):
    source = EXAMPLE / "src"
    plugins, data = "plugins=[facekp_example]", ["data=synthetic", "data.batch_size=16"]
    swept = run(
        "train",
        "-m",
        *data,
        *TINY,
        plugins,
        "lr=1e-3,1e-4",  # workers of a launcher: tests/runs/sweeps/test_sweep.py
        "hydra.sweep.dir=sweep",
        cwd=tmp_path,
        path=source,
    )
    assert swept.returncode == 0, swept.stderr
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(table["status"]) == ["ok", "ok"]
    assert table["example_failures"].between(0, 1).all()

    both = run("train", *data, *TINY, plugins, "trainer=ddp", "out=ddp", cwd=tmp_path, path=source)
    assert both.returncode == 0, both.stderr


def test_settings_of_plug_ins_are_checked(tmp_path):
    arguments = ["data=synthetic", *TINY, "plugins=[facekp_example]", "loss.gamma=-1"]
    done = run("train", *arguments, cwd=tmp_path, path=EXAMPLE / "src")
    assert done.returncode == 2
    assert "loss.gamma=-1: must be at least 0" in done.stderr
