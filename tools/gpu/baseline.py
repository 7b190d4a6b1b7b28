"""The baseline: a training as one would write it first, in eager float32 with host loading."""

from __future__ import annotations

import time

import torch
from torch.utils.data import DataLoader

from facekp.data.table import FaceTable
from facekp.functional.losses import build_loss, labelled_mean
from facekp.networks.base import build_network
from facekp.reporting.bench.baseline import PlainFaces
from facekp.reporting.roofline import wait_for
from facekp.training.settings import TrainSettings


def plain_speed(
    settings: TrainSettings, table: FaceTable, device: torch.device, workers: int, skip: int, seconds: float
) -> float:
    """Images per second of the plain training.

    Args:
        settings: network, loss, size of a batch, and whether faces are moved.
        table: faces.
        device: where the training runs.
        workers: number of processes of the DataLoader.
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
