"""The published system's weights: every key finds its place, and its published answers come back."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from facekp.networks.base import NETWORKS, build_network
from facekp.networks.published_weights import published_state_dict

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SCHEME = Path(__file__).resolve().parents[2] / "conf" / "keypoints" / "kaggle15.yaml"
POINTS = yaml.safe_load(SCHEME.read_text())["names"]  # in the order of the published network's channels


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The 244 entries of the published file, written down from its listing."""

    def conv(key: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{key}.weight": shape, f"{key}.bias": shape[:1]}

    def norm(key: str, channels: int) -> dict[str, tuple[int, ...]]:
        return {f"{key}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}

    shapes = conv("_KFSGNet__conv1", 64, 1, 1, 1) | conv("_KFSGNet__conv2", 128, 64, 1, 1)
    for block in [f"res{level}_{branch}" for level in (4, 3, 2, 1) for branch in (1, 2, 3)] + ["res_center"]:
        key = f"_KFSGNet__hg.{block}.convBlock"
        shapes |= norm(f"{key}.0", 128) | conv(f"{key}.2", 64, 128, 1, 1) | norm(f"{key}.3", 64)
        shapes |= conv(f"{key}.5", 64, 64, 3, 3) | norm(f"{key}.6", 64) | conv(f"{key}.8", 128, 64, 1, 1)
    return shapes | conv("_KFSGNet__lin.conv", 15, 128, 1, 1) | norm("_KFSGNet__lin.bn", 15)


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(shape, generator=generator) for key, shape in published_shapes().items()}


def test_every_published_key_has_one_place_in_the_network() -> None:
    raw = random_weights()
    assert len(raw) == 244
    state = published_state_dict(raw)
    assert state is not None
    network = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)
    network.load_state_dict(state)  # strict: nothing missing, nothing left over
    loaded = {value.sum().item() for key, value in network.state_dict().items() if "num_batches" not in key}
    assert loaded == {value.sum().item() for value in raw.values()}


def test_levels_count_from_the_outside_and_branches_keep_their_place() -> None:
    raw = random_weights()
    state = published_state_dict(raw)
    assert state is not None
    for theirs, ours in {
        "res4_1.convBlock.2": "hourglass.full.body.2",
        "res4_2.convBlock.2": "hourglass.down.body.2",
        "res1_3.convBlock.5": "hourglass.inner.inner.inner.up.body.5",
        "res_center.convBlock.8": "hourglass.inner.inner.inner.inner.body.8",
    }.items():
        assert state[f"{ours}.weight"] is raw[f"_KFSGNet__hg.{theirs}.weight"]


def test_other_checkpoints_are_left_alone() -> None:
    assert published_state_dict({"state_dict": {}, "facekp": 1}) is None
    assert published_state_dict({}) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the published system's weights and answers in {SHARED}")
def test_the_published_answers_come_back() -> None:
    """24 test images; the original code on these JPEG copies agrees in 70.1 % of all values, 87.4 % within 1 px."""
    raw = torch.load(SHARED / "seed" / "kd_epoch_809_model.ckpt", map_location="cpu", weights_only=True)
    state = published_state_dict(raw)
    assert state is not None
    network = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)
    network.load_state_dict(state)
    ids = range(9, 1783, 75)
    with torch.inference_mode():
        pixels = torch.from_numpy(_test_images(ids)[:, None]).float()
        best = network.eval()(pixels / 255)[0].flatten(2).argmax(2).numpy()  # (N, 15)
    found = dict(zip(ids, np.stack([best % 96, best // 96], axis=2), strict=True))
    error = np.array(
        [abs(found[face][POINTS.index(point)][axis] - answer) for face, point, axis, answer in _answers(ids)]
    )
    assert (error == 0).mean() >= 0.66
    assert (error <= 1).mean() >= 0.84


def _test_images(ids: range) -> np.ndarray:
    with zipfile.ZipFile(SHARED / "test_images.zip") as images:
        files = [np.frombuffer(images.read(f"{face:04d}.png"), np.uint8) for face in ids]
    return np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files])


def _answers(ids: range) -> list[tuple[int, str, int, float]]:
    """(ImageId, point, 0 for x or 1 for y, the published answer in pixels) of these images' rows."""
    with open(SHARED / "IdLookupTable.csv") as table, open(SHARED / "seed" / "result_809.csv") as published:
        answers = {row["RowId"]: float(row["Location"]) for row in csv.DictReader(published)}
        rows = [row for row in csv.DictReader(table) if int(row["ImageId"]) in ids]
    parts = [(row, *row["FeatureName"].rsplit("_", 1)) for row in rows]
    return [(int(row["ImageId"]), point, "xy".index(axis), answers[row["RowId"]]) for row, point, axis in parts]
