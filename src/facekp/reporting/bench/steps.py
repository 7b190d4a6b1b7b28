"""What the steps around the network cost: encoding, augmenting and decoding, on their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from facekp.data.datamodule import FaceData
from facekp.data.synthetic.faces import draw_faces
from facekp.models.keypoint_model import KeypointModel
from facekp.reporting.bench.baseline import draw_maps, highest_cells, move_face
from facekp.reporting.bench.measurement import Measurement
from facekp.reporting.bench.settings import BenchSettings
from facekp.reporting.bench.timing import medians

BATCH_SIZE = 32  # faces


def measure_steps(settings: BenchSettings, scratch: Path) -> Iterator[Measurement]:
    """Each step of a batch, beside a loop over its faces."""
    table = draw_faces(2 * BATCH_SIZE, 0, settings.keypoints)
    model = KeypointModel(settings.keypoints, table.size, settings.model, settings.loss.activation, settings.decoder)
    data = FaceData(table, np.arange(len(table)) % 2, 0, "full", BATCH_SIZE, settings.augment, seed=0)
    rows, generator, random = torch.arange(BATCH_SIZE), torch.Generator().manual_seed(0), np.random.default_rng(0)
    images, points = table.images[:BATCH_SIZE].astype(np.float32), table.points[:BATCH_SIZE]
    labels, source = torch.from_numpy(points), torch.from_numpy(table.source[:BATCH_SIZE]).long()
    by_channel = model.labels_by_channel(labels, source)
    maps, cells = model.target(by_channel)
    cells_of_faces, side, sigma = cells.numpy(), maps.shape[-1], settings.model.sigma
    plain_maps = maps.numpy()

    def augment_plainly() -> None:
        for image, of_face in zip(images, points, strict=True):
            move_face(image, of_face, random)

    pairs = {
        "augment": (lambda: data.assemble(rows, generator), augment_plainly, "cv2.warpAffine in a loop"),
        "encode": (
            lambda: model.target(by_channel),
            lambda: [draw_maps(of_face, side, sigma) for of_face in cells_of_faces],
            "numpy in a loop",
        ),
        "decode": (lambda: model.decode(maps, source), lambda: highest_cells(plain_maps), "argmax in a loop"),
    }
    for name, (ours, baseline, baseline_name) in pairs.items():
        fast, slow = medians([ours, baseline], settings.rounds * settings.steps)
        yield Measurement(f"{name} {BATCH_SIZE} faces", 1000 * fast, "ms", 1000 * slow, baseline_name)
