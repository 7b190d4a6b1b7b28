"""From a table to training batches: index batches on the host, everything else in batched tensors on the device.

A `FaceTable` and its folds come in. The loaders yield row numbers; `on_after_batch_transfer` gathers images and labels
on the device (`HostImages` on the host, whence each batch is moved), augments the training ones and hands on
dictionaries of tensors:

    image   float32 (N, 1, H, W), grey levels 0..255
    points  float32 (N, K, 2), pixels, NaN where unlabelled
    source  int64 (N,)
    row     int64 (N,), the row in the table
    taught  float32 (N, S, K, 2), pixels, a teacher's points by each source's convention; in training, if there is one
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from facekp.core.errors import UserError
from facekp.data.augment import Augmentation
from facekp.data.split import image_hashes
from facekp.data.table import FaceTable, HostImages

SUBSETS = ("full", "complete")

Batch = dict[str, Tensor]


class FaceData(LightningDataModule):
    """Training and validation batches of one fold.

    Args:
        table: all rows.
        fold_of: int (N,), the fold of each row (`facekp.data.split.assign_folds`); -1: never held out.
        fold: the fold held out for validation, always with the full mixture of rows.
        subset: training rows: ``full``, or ``complete`` for those with every point labelled.
        batch_size: rows a step, over all processes together.
        augmentation: of training rows.
        seed: of shuffling (with the epoch) and augmentation (with the step).
        taught: a teacher's answers (`facekp.training.distillation.DistillationData.answers`).
        offsets: pixels by source that its labels lie right of where a mirror image has them
            (`facekp.core.keypoints.Keypoints.offsets`); None: none.
    """

    def __init__(
        self,
        table: FaceTable,
        fold_of: np.ndarray,
        fold: int,
        subset: str,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        taught: np.ndarray | None = None,
        offsets: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        check_split(table, fold_of, fold, subset)
        self.table, self.batch_size, self.augmentation, self.seed = table, batch_size, augmentation, seed
        chosen = table.mask.all(axis=1) if subset == "complete" else np.ones(len(table), dtype=bool)
        self.train_rows = np.flatnonzero((fold_of != fold) & chosen)
        self.val_rows = np.flatnonzero(fold_of == fold)
        if not len(self.train_rows):
            raise UserError(f"subset={subset}: fold {fold} leaves no row to train on; take full, or more data.rows")
        own = table.points[:, None]
        self.labels = own if taught is None else np.concatenate((own, taught), axis=1)  # (N, 1 or 1 + S, K, 2)
        sets, order = self.labels.shape[1], table.keypoints.flip_order()
        self.flip_order = torch.from_numpy((order + len(order) * np.arange(sets)[:, None]).ravel())
        right = table.keypoints.offsets(offsets)  # (S, K, 2)
        whole = np.concatenate((right[:, None], np.broadcast_to(right, (len(right), *right.shape))), axis=1)
        self.offset = torch.from_numpy(whole[:, :sets])  # (S, 1 or 1 + S, K, 2), of the labels of a row of each source
        self._on_device: Batch | None = None

    @cached_property
    def train_hashes(self) -> np.ndarray:
        """int64 hashes of the training images, by which checkpoints are kept from being scored on them."""
        return image_hashes(self.table.take(self.train_rows).images)

    @property
    def steps_per_epoch(self) -> int:
        return max(len(self.train_rows) // self.batch_size, 1)

    def train_dataloader(self) -> DataLoader:
        def shuffled() -> list[np.ndarray]:
            generator = np.random.default_rng([self.seed, self._trainer().current_epoch])
            order = generator.permutation(self.train_rows)
            return np.array_split(order[: self.steps_per_epoch * self.batch_size], self.steps_per_epoch)

        return self._loader(shuffled)

    def val_dataloader(self) -> DataLoader:
        batches = np.array_split(self.val_rows, -(-len(self.val_rows) // self.batch_size))
        return self._loader(lambda: batches)

    def _trainer(self) -> Any:
        return self.trainer

    def _loader(self, batches: Callable[[], list[np.ndarray]]) -> DataLoader:
        world = self._trainer().world_size
        if self.batch_size < world:
            raise UserError(f"data.batch_size={self.batch_size}: must be at least the number of processes, {world}")
        sampler = ShardedBatches(batches, self._trainer().global_rank, world)
        everything = cast("Any", range(len(self.table)))  # a dataset whose items are the row numbers themselves
        return DataLoader(everything, batch_sampler=sampler, collate_fn=_row_numbers)

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Batch:
        """Row numbers (n,) to the dictionary of tensors described above."""
        trainer = self._trainer()
        address = (self.seed, trainer.global_step, trainer.global_rank)
        return self.assemble(batch, step_generator(*address) if trainer.training else None)

    def assemble(self, rows: Tensor, generator: torch.Generator | None) -> Batch:
        """Row numbers (n,) to the dictionary of tensors described above, augmented where a generator is given."""
        table = self._resident(rows.device)
        images, labels = self._gather(rows).unsqueeze(1).float(), table["labels"][rows]
        if generator is not None:
            order = self.flip_order.to(rows.device)
            offset = self.offset.to(rows.device)[table["source"][rows]]
            images, moved = self.augmentation(images, (labels - offset).flatten(1, 2), order, generator)
            labels = moved.view_as(labels) + offset
        taught = {"taught": labels[:, 1:]} if generator is not None and labels.shape[1] > 1 else {}
        return {"image": images, "points": labels[:, 0], "source": table["source"][rows], "row": rows, **taught}

    def _gather(self, rows: Tensor) -> Tensor:
        """Images uint8 (n, H, W) on the rows' device."""
        images = self.table.images
        if isinstance(images, HostImages):
            return torch.from_numpy(images[rows.cpu().numpy()]).to(rows.device)
        return self._resident(rows.device)["image"][rows]

    def _resident(self, device: torch.device) -> Batch:
        """What lies on the device, copied once: the table (7049 faces are 65 MB), without `HostImages`."""
        if self._on_device is None or self._on_device["labels"].device != device:
            arrays = {"labels": self.labels, "source": self.table.source}
            if not isinstance(self.table.images, HostImages):
                arrays["image"] = self.table.images
            tensors = {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}
            self._on_device = {**tensors, "source": tensors["source"].long()}
        return self._on_device


def _row_numbers(rows: list[int]) -> Tensor:
    """int64 (n,); a process's share of a batch may be empty."""
    return torch.tensor(rows, dtype=torch.long)


class ShardedBatches(Sampler[list[int]]):
    """Batches of row numbers, each dealt out over the processes, none padded.

    Every process sees the same number of batches, so collective calls match; its share of a batch differs by one row
    at most.

    Args:
        batches: called at the start of every epoch, the same in every process.
        rank: this process.
        world_size: how many there are.
    """

    def __init__(self, batches: Callable[[], list[np.ndarray]], rank: int, world_size: int) -> None:
        self.batches, self.rank, self.world_size = batches, rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches():
            yield batch[self.rank :: self.world_size].tolist()

    def __len__(self) -> int:
        return len(self.batches())


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Randomness with an address: the same (seed, step, process) draws the same, whatever ran before."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(1, dtype=np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> 1))


def check_split(table: FaceTable, fold_of: np.ndarray, fold: int, subset: str) -> None:
    """
    Raises:
        UserError: no such fold or subset, or nothing is labelled.
    """
    folds = int(fold_of.max()) + 1
    if fold not in range(folds):
        raise UserError(f"data.fold={fold}: with data.folds={folds} it must be one of 0 to {folds - 1}")
    if subset not in SUBSETS:
        raise UserError(f"subset={subset}: choose one of {', '.join(SUBSETS)}")
    if np.isnan(table.points).all():
        raise UserError("the table holds no labelled point at all; nothing can be learnt from it")
