"""Baselines of facekp's steps: the simplest code, as a first version of such a project has it, one face at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facekp.core.settings import parse
from facekp.data.table import FaceTable
from facekp.functional.losses import LOSSES, labelled_mean
from facekp.models.settings import ModelSettings
from facekp.networks.base import build_network
from facekp.reporting.bench.timing import seconds

MAX_ANGLE, MAX_SHIFT = 20, 5  # of a random movement, degrees and pixels


def draw_maps(points: np.ndarray, cells: int, sigma: float) -> np.ndarray:
    """A Gaussian for each point.

    Args:
        points: (K, 2) in cells; NaN where unlabelled.
        cells: side of the maps.
        sigma: of the Gaussians, in cells.

    Returns:
        float32 (K, cells, cells), with the peak 1; all zero where the point is not labelled.
    """
    x, y = np.meshgrid(np.arange(cells), np.arange(cells))
    maps = np.zeros((len(points), cells, cells), np.float32)
    for k, point in enumerate(points):
        if not np.isnan(point).any():
            maps[k] = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sigma**2))
    return maps


def move_face(image: np.ndarray, points: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A turned and shifted copy of an image (H, W), and its points (K, 2)."""
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, random.uniform(-MAX_ANGLE, MAX_ANGLE), 1.0))
    matrix[:, 2] = matrix[:, 2] + random.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
    moved = cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return moved, points @ matrix[:, :2].T + matrix[:, 2]


def highest_cells(maps: np.ndarray) -> np.ndarray:
    """(N, K, 2): x and y of the highest cell of each map (N, K, h, w)."""
    return np.array([[np.unravel_index(one.argmax(), one.shape)[::-1] for one in face] for face in maps])


class PlainFaces(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Faces of a table that are moved and whose maps are drawn one by one, on the host.

    Args:
        table: the faces.
        channels: int (S, K), the map of each source's points.
        stride: pixels per cell.
        sigma: of the maps, in cells.
        moved: whether each face is turned and shifted at random.
    """

    def __init__(self, table: FaceTable, channels: np.ndarray, stride: int, sigma: float, moved: bool = True) -> None:
        self.table, self.channels, self.stride, self.sigma, self.moved = table, channels, stride, sigma, moved

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        image, points = np.asarray(self.table.images[index], np.float32), self.table.points[index]
        if self.moved:
            image, points = move_face(image, points, np.random.default_rng(index))
        by_channel = np.full((self.channels.max() + 1, 2), np.nan)
        by_channel[self.channels[self.table.source[index]]] = (points - (self.stride - 1) / 2) / self.stride
        maps = draw_maps(by_channel, image.shape[0] // self.stride, self.sigma)
        mask = ~np.isnan(by_channel[:, 0])
        return torch.from_numpy(image[None] / 255), torch.from_numpy(maps), torch.from_numpy(mask)


def plain_step_times(
    model: Mapping[str, Any], loss: Mapping[str, Any], table: FaceTable, batch: int, steps: int, threads: int
) -> list[float]:
    """Seconds of each training step of a plain loop; to be called in a new process.

    The loop is eager torch in contiguous float32 with Adam. A DataLoader with a worker for each thread draws the maps.

    Args:
        model: plain settings of the network (`facekp.models.settings.ModelSettings`).
        loss: plain settings of the loss.
        table: faces, at least one batch.
        batch: faces per step.
        steps: after two that warm up.
        threads: of torch, and workers.
    """
    torch.set_num_threads(threads)
    settings = parse(ModelSettings, model)
    channels = table.keypoints.channels(settings.by_source)
    network = build_network(settings.network, heatmaps=int(channels.max()) + 1)
    faces = PlainFaces(table, channels, network.stride, settings.sigma)
    loader = DataLoader(faces, batch, shuffle=True, num_workers=threads, drop_last=True, persistent_workers=True)
    optimizer, compare = torch.optim.Adam(network.parameters(), lr=1e-3), LOSSES.partial(LOSSES.parse(loss))
    batches = _endless(loader)

    def step() -> None:
        images, maps, mask = next(batches)
        optimizer.zero_grad()
        cells = torch.zeros(*mask.shape, 2)  # the losses of maps alone do not read them
        labelled_mean(compare(network(images)[-1], maps, cells), mask).backward()
        optimizer.step()

    return [seconds(step) for _ in range(steps + 2)][2:]


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader
