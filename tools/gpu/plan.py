"""What the sections of `tools/gpu_check.py` share: arguments, device, sizes, and the fastest way to train so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from tools.gpu.record import Record

PUBLISHED = ["experiment=seed/2_adam_complete", "subset=full", "out=null"]  # model, loss, optimiser and batch of step 3
DEFAULT: list[str] = []
TOY = {  # networks and data small enough for a CPU
    "data": ["data.rows=20"],
    "published": ["data.batch_size=2"],
    "default": ["model.network.channels=8", "model.network.levels=1", "data.batch_size=4"],
}


@dataclass
class Plan:
    """One call of the check.

    Attributes:
        record: where figures are kept.
        device: GPU that is measured.
        data: folder of the competition's files; None: drawn faces.
        toy: tiny sizes, to try the check on a CPU.
        scratch: folder of the runs.
        keep: folder for checkpoints; None: they are not kept.
        seconds_for_speed: that the variants of training share.
        seconds_for_best: that `experiment=best` gets at least.
        bandwidth: measured, bytes per second.
        rate: measured in bfloat16, floating-point operations per second.
        fastest: overrides of the fastest training by network, ``published`` and ``default``.
        images: per second of it.
    """

    record: Record
    device: torch.device
    data: Path | None
    toy: bool
    scratch: Path
    keep: Path | None
    seconds_for_speed: float
    seconds_for_best: float = 0.0
    bandwidth: float = 0.0
    rate: float = 0.0
    fastest: dict[str, list[str]] = field(default_factory=dict)
    images: dict[str, float] = field(default_factory=dict)

    @property
    def trainer(self) -> str:
        return "trainer=gpu" if self.device.type == "cuda" else "trainer=cpu"

    @property
    def source(self) -> list[str]:
        """The overrides that choose the data."""
        read = [f"data.dir={self.data}", f"data.cache={self.scratch / 'cache'}"]
        return [*(["data=synthetic"] if self.data is None else read), *(TOY["data"] if self.toy else [])]

    def base(self, network: str) -> list[str]:
        """The overrides of a training of ``published`` or ``default``."""
        own = PUBLISHED if network == "published" else DEFAULT
        return [*own, *self.source, *(TOY[network] if self.toy else []), self.trainer]

    def folder(self, name: str) -> Path:
        """A new folder for a run."""
        return self.scratch / f"{name}_{sum(1 for _ in self.scratch.iterdir())}"
