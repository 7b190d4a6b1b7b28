"""The baseline: a training as one would write it first, in eager float32 with host loading."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facekp.data.table import FaceTable
from facekp.functional.losses import build_loss, labelled_mean
from facekp.networks.base import build_network
from facekp.reporting.bench.plain import draw_maps, move_face
from facekp.reporting.roofline import wait_for
from facekp.training.settings import TrainSettings


class PlainFaces(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Faces whose maps are drawn one by one on the host.

    Args:
        table: the faces.
        channels: int (S, K), the map of each source's points.
        stride: pixels per cell.
        sigma: of the maps, in cells.
        moved: whether each face is turned and shifted at random.
    """

    def __init__(self, table: FaceTable, channels: np.ndarray, stride: int, sigma: float, moved: bool) -> None:
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


def plain_speed(
    settings: TrainSettings, table: FaceTable, device: torch.device, workers: int, skip: int, seconds: float
) -> float:
    """Images per second of the plain training.

    Args:
        settings: network, loss, size of a batch, and whether faces are moved.
        table: faces.
        device: that trains.
        workers: of the DataLoader.
        skip: steps that warm up.
        seconds: for which steps are timed.
    """
    channels = table.keypoints.channels(settings.model.by_source)
    network = build_network(settings.model.network, heatmaps=int(channels.max()) + 1).to(device)
    faces = PlainFaces(table, channels, network.stride, settings.model.sigma, moved=settings.augment.rotate > 0)
    loader = DataLoader(
        faces,
        settings.data.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    optimizer, loss = torch.optim.Adam(network.parameters(), lr=1e-3), build_loss(settings.loss)
    steps, started, images = 0, 0.0, 0
    while True:
        for batch in loader:
            image, maps, mask = (part.to(device) for part in batch)
            optimizer.zero_grad()
            cells = torch.zeros(*mask.shape, 2, device=device)  # losses of maps alone do not read them
            total = labelled_mean(loss(network(image)[-1], maps, cells), mask)
            total.backward()
            optimizer.step()
            total.item()  # a plain training prints its loss
            steps += 1
            if steps > skip:
                images += len(image)
            if steps == skip:
                wait_for(device)
                started = time.perf_counter()
            elif steps > skip and (elapsed := time.perf_counter() - started) > seconds:
                return images / elapsed
