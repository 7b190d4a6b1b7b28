"""Exported files that tests share. An export takes many seconds, so both workers of a test run use the same files."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from facekp.export import main
from tests.conftest import composed

QUICK = ("format=torch_export", "decoder=argmax", "decoder.flip=false")  # an eighth of the time of an ONNX file


def export(ckpt: Path, out: Path, *more: str) -> dict[str, Any]:
    """Export a checkpoint by the command, checked on 12 drawn faces."""
    given = ["data=synthetic", "data.rows=40", "check=12", f"ckpt={ckpt}", f"out={out}"]
    return main(composed(*given, *more, name="export"))


def shared_export(factory: pytest.TempPathFactory, ckpt: Path, name: str, *more: str) -> tuple[Path, dict[str, Any]]:
    """The file with this name and its check, exported by the first worker that needs it."""
    folder = shared_folder(factory, name, lambda folder: _export_to(folder, ckpt, *more))
    return folder / "model.onnx", json.loads((folder / "check.json").read_text())


def _export_to(folder: Path, ckpt: Path, *more: str) -> None:
    (folder / "check.json").write_text(json.dumps(export(ckpt, folder / "model.onnx", *more)))


def shared_folder(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """A folder for all workers of this test run, filled by the first one that needs it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then this is the folder of one worker
        root = root.parent
    folder = root / f"shared_{name}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "filled").exists():
            folder.mkdir(exist_ok=True)
            fill(folder)
            (folder / "filled").touch()
    return folder
