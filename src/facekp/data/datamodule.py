"""From a table to training batches: row numbers on the host, everything else in batched tensors on the device.

A `FaceTable` and its folds come in. The loaders yield row numbers (`Rows`). `on_after_batch_transfer` collects images
and labels on the device, augments training batches, and returns a dictionary of tensors::

    image           float32 (N, 1, H, W), or in colour (N, 3, H, W), levels 0..255
    points          float32 (N, K, 2), pixels, NaN where unlabelled
    source          int64 (N,)
    row             int64 (N,), the row in the table
    teacher_points  float32 (N, S, K, 2), pixels, a teacher's predictions by each source's convention; in training, with
                    a teacher only

An optimiser step has ``accumulate`` micro-batches. Where it has more than one, a training batch also holds the labels
of all M rows of the step, over all micro-batches and processes. Losses are weighted by them::

    step_points          float32 (M, K, 2), after augmentation
    step_source          int64 (M,)
    step_teacher_points  float32 (M, S, K, 2); with a teacher only

Images stay on the host where they are `HostImages`; each batch is then copied to the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from facekp.core.console import values_text
from facekp.core.errors import UserError
from facekp.data.augment import Augmentation
from facekp.data.chunks import cut, even_sizes, pools_in_order, shuffled_pools, while_reading_ahead
from facekp.data.near_duplicates import face_hashes
from facekp.data.subsets import subset_of_table
from facekp.data.table import FaceTable, HostImages
from facekp.functional.channels import channels_first

SUBSETS = ("full", "complete")

Batch = dict[str, Tensor]
Augment = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # images, points, order of mirrored points


class Rows(NamedTuple):
    """What a loader yields: the row numbers of a batch.

    Attributes:
        rows: int64 (N,), the rows of this process; N may be 0.
        micro_batch: position of the batch in its optimiser step, from 0.
        step: the rows of all processes in each micro-batch of the step, int64 (M_i,); empty where there is only one.
    """

    rows: Tensor
    micro_batch: int = 0
    step: Sequence[Tensor] = ()


class FaceData(LightningDataModule):
    """Training and validation batches of one fold.

    Args:
        table: all rows.
        fold_of: int (N,), the fold of each row (`facekp.data.split.assign_folds`); -1: never held out.
        fold: the fold held out for validation, with rows of all kinds; it may have no row, or none with a label.
        subset: training rows: ``full``, ``complete`` for those with every point labelled, or the values of attributes
            that they have (`facekp.data.subsets`).
        batch_size: rows in a batch, over all processes together.
        augmentation: random changes of the training rows.
        seed: of shuffling (with the epoch) and augmentation (with step, micro-batch and process).
        teacher_points: a teacher's predictions, float32 (N, S, K, 2), pixels, for each source; None: no teacher.
        offsets: how far right of the mirror-symmetric position each source labels, pixels by name of the source
            (`facekp.core.keypoints.Keypoints.offsets`); None: no offsets.
        accumulate: batches in an optimiser step, ``trainer.accumulate_grad_batches``.
        chunk_rows: rows that are read from a file one after another (`facekp.data.chunks`); 0: all rows are shuffled
            together.

    Attributes:
        yields_inputs: whether training batches are `inputs` only, for a step that also assembles them on the device.

    Raises:
        UserError: there is no such fold or subset, or no row to train on.
    """

    def __init__(
        self,
        table: FaceTable,
        fold_of: np.ndarray,
        fold: int,
        subset: str | Mapping[str, Sequence[str]],
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        teacher_points: np.ndarray | None = None,
        offsets: Mapping[str, float] | None = None,
        accumulate: int = 1,
        chunk_rows: int = 0,
    ) -> None:
        super().__init__()
        check_split(table, fold_of, fold, subset)
        self.table, self.batch_size, self.augmentation, self.seed = table, batch_size, augmentation, seed
        self.accumulate, self.chunk_rows = accumulate, chunk_rows
        self.train_rows = np.flatnonzero((fold_of != fold) & _is_in(subset, table))
        self.val_rows = np.flatnonzero(fold_of == fold)
        if not len(self.train_rows):
            raise UserError(
                f"subset={_subset_text(subset)}: has no row to train on that is not held out; use full, or more "
                "data.rows"
            )
        labels = table.points[:, None]
        if teacher_points is not None:
            labels = np.concatenate((labels, teacher_points), axis=1)
        if np.isnan(labels[self.train_rows]).all():
            raise UserError(
                f"subset={_subset_text(subset)}: no row to train on has a labelled point; label some of them, or hold "
                "out other rows (data.fold, data.held_out)"
            )
        self.labels = labels  # (N, L, K, 2); L = 1 or 1 + S sets of points: labels, teacher by source
        sets, order = labels.shape[1], table.keypoints.flip_order()
        self.flip_order = torch.from_numpy((order + len(order) * np.arange(sets)[:, None]).ravel())  # (L K,)
        by_source = table.keypoints.offsets(offsets)  # (S, K, 2)
        of_teacher = np.broadcast_to(by_source, (len(by_source), *by_source.shape))
        offset = np.concatenate((by_source[:, None], of_teacher), axis=1)[:, :sets]
        self.offset = torch.from_numpy(offset)  # (S, L, K, 2), of the labels of a row of each source
        self.yields_inputs = False
        self._on_device: Batch | None = None
        self._step: _Step | None = None

    def setup(self, stage: str) -> None:
        """Refuse what a caller's Trainer can't do with these batches; Lightning calls it.

        Raises:
            UserError: the Trainer overfits batches, or has other optimiser steps than the data.
        """
        trainer = self._trainer()
        if trainer.overfit_batches:
            raise UserError(
                f"Trainer(overfit_batches={trainer.overfit_batches}): FaceData shuffles in every epoch; give it a "
                "table with few rows instead, FaceTable.take(rows)"
            )
        if stage == "fit" and self.accumulate not in (1, trainer.accumulate_grad_batches):
            raise UserError(
                f"FaceData(accumulate={self.accumulate}): the Trainer has "
                f"accumulate_grad_batches={trainer.accumulate_grad_batches}; give both the same number"
            )

    @cached_property
    def train_hashes(self) -> np.ndarray:
        """int64 (M,), hashes of the training faces (`face_hashes`), by which checkpoints are not scored on them."""
        return face_hashes(self.table.take(self.train_rows)).ravel()

    @cached_property
    def train_labels(self) -> np.ndarray:
        """int64 (S, K): training labels of each source and point; with mirror images, those of the other side too."""
        labelled = ~np.isnan(self.labels[self.train_rows][..., 0])  # (N, L, K)
        source = self.table.source[self.train_rows]
        sources = range(len(self.table.keypoints.source_names))
        counts = np.stack([labelled[source == s, 0].sum(axis=0) for s in sources])
        if labelled.shape[1] > 1:
            counts += labelled[:, 1:].sum(axis=0)  # a teacher predicts every row by every source
        return counts + counts[:, self.table.keypoints.flip_order()] if self.augmentation.flip else counts

    @cached_property
    def has_scores(self) -> bool:
        """Whether a validation row has a labelled point; without one no epoch has an RMSE."""
        return bool(self.table.mask[self.val_rows].any())

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return max(len(self.train_rows) // (self.batch_size * self.accumulate), 1)

    @property
    def val_batches(self) -> int:
        """Validation batches."""
        return -(-len(self.val_rows) // self.batch_size)

    def train_dataloader(self) -> DataLoader:
        steps = self.steps_per_epoch
        rows = min(steps * self.batch_size * self.accumulate, len(self.train_rows))

        def shuffled() -> Iterator[list[np.ndarray]]:
            generator = np.random.default_rng([self.seed, self._trainer().current_epoch])
            pools = shuffled_pools(self.train_rows, self.chunk_rows, generator)
            for step in self._pieces(pools, rows, steps):
                yield np.array_split(step, self.accumulate)

        return self._loader(shuffled, steps * self.accumulate)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if not len(self.val_rows):
            return []
        batches = self.val_batches

        def in_order() -> Iterator[list[np.ndarray]]:
            pools = pools_in_order(self.val_rows, self.chunk_rows)
            for batch in self._pieces(pools, len(self.val_rows), batches):
                yield [batch]

        return self._loader(in_order, batches)

    def _pieces(self, pools: Sequence[np.ndarray], rows: int, number: int) -> Iterator[np.ndarray]:
        """The first rows of the pools in pieces of even size; chunks are read ahead."""
        read = while_reading_ahead(self.table.images, pools) if self.chunk_rows else pools
        return cut(read, even_sizes(rows, number))

    def _trainer(self) -> Any:
        if self.trainer is None:
            raise UserError(
                "FaceData: has no Trainer yet; call Trainer.fit(estimator, datamodule=data), not its loaders"
            )
        return self.trainer

    def _loader(self, steps: Callable[[], Iterable[list[np.ndarray]]], batches: int) -> DataLoader:
        processes = self._trainer().world_size
        if self.batch_size < processes:
            raise UserError(f"data.batch_size={self.batch_size}: must be at least the number of processes, {processes}")
        sampler = ShardedBatches(steps, batches, self._trainer().global_rank, processes)
        return DataLoader(_Unchanged(), sampler=cast("Any", sampler), batch_size=None)

    def on_after_batch_transfer(self, batch: Rows, dataloader_idx: int) -> Batch:
        """The batch of some rows; in training augmented, with numbers drawn for (seed, step, micro-batch, process)."""
        if not self._trainer().training:
            return self.assemble(batch.rows, None)
        if not batch.step:
            generator = self._generator(self._micro_batch(), self._trainer().global_rank)
            return self.inputs(batch.rows, generator) if self.yields_inputs else self.assemble(batch.rows, generator)
        if batch.micro_batch == 0 or self._step is None:
            self._step = self._start_step(batch.step)
        return {**self.assemble(batch.rows, self._step.generators[batch.micro_batch]), **self._step.labels}

    def assemble(self, rows: Tensor, generator: torch.Generator | None) -> Batch:
        """The batch of some rows.

        Args:
            rows: int64 (N,).
            generator: of the augmentation; None: no augmentation, and no teacher's points.
        """
        if generator is None:
            return self._batch(rows, self._gather(rows), self._resident(rows.device)["labels"][rows, :1])
        return self._batch(rows, *self._augment(rows, partial(self.augmentation, generator=generator)))

    def inputs(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """All that the host adds to a batch of training: its row numbers ``row``, and random numbers.

        It is the batch itself where images lie on the host, or where `Augmentation.transforms` change them, which draw
        random numbers while they compute.
        """
        if self.augmentation.transforms or isinstance(self.table.images, HostImages):
            return self.assemble(rows, generator)
        self._resident(rows.device)  # copied here, as neither a graph nor a compiled function can hold the copying
        shape = (len(rows), self.table.channels, *self.table.size)
        return {"row": rows, **self.augmentation.draw(shape, rows.device, generator)}

    def assemble_inputs(self, inputs: Batch) -> Batch:
        """The batch of `inputs`, by the device alone, so that a CUDA graph can hold it."""
        if "image" in inputs:
            return inputs
        rows = inputs["row"]
        return self._batch(rows, *self._augment(rows, partial(self.augmentation.apply, draws=inputs)))

    def _batch(self, rows: Tensor, images: Tensor, labels: Tensor) -> Batch:
        """The batch of images (N, I, H, W) with labels (N, L, K, 2); L = 1 without a teacher's."""
        source = self._resident(rows.device)["source"][rows]
        batch = {"image": images, "points": labels[:, 0], "source": source, "row": rows}
        return batch if labels.shape[1] == 1 else {**batch, "teacher_points": labels[:, 1:]}

    def _augment(self, rows: Tensor, augment: Augment) -> tuple[Tensor, Tensor]:
        """Augmented images (N, I, H, W) and labels (N, L, K, 2) of some rows."""
        points, offset = self._centred_points(rows)
        order = self._resident(rows.device)["flip_order"]
        images, moved = augment(self._gather(rows), points.flatten(1, 2), order)
        return images, moved.view_as(points) + offset

    def _augmented_labels(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The labels that `assemble` gives; without the images where they depend on the movement only."""
        if self.augmentation.moves_points_by_transforms:
            return self._augment(rows, partial(self.augmentation, generator=generator))[1]
        points, offset = self._centred_points(rows)
        draws = self.augmentation.draw_movement(len(rows), self.table.size, rows.device, generator)
        order = self._resident(rows.device)["flip_order"]
        moved = self.augmentation.move_points(points.flatten(1, 2), self.table.size, order, draws)
        return moved.view_as(points) + offset

    def _centred_points(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (N, L, K, 2) without their source's offset, which a mirror image does not reverse, and that offset."""
        resident = self._resident(rows.device)
        offset = resident["offset"][resident["source"][rows]]
        return resident["labels"][rows] - offset, offset

    def _micro_batch(self) -> int:
        """Position of the next batch in its step; not 0 only where a callback or a caller's Trainer accumulates."""
        batches = self._trainer().accumulate_grad_batches
        return (self._trainer().fit_loop.batch_idx + 1) % batches if batches > 1 else 0

    def _generator(self, micro_batch: int, process: int) -> torch.Generator:
        return step_generator(self.seed, self._trainer().global_step, process, micro_batch)

    def _start_step(self, micro_batches: Sequence[Tensor]) -> _Step:
        """What the micro-batches of an optimiser step share.

        Args:
            micro_batches: the rows of all processes in each of them.
        """
        processes = self._trainer().world_size
        generators, rows, labels = [], [], []
        for micro_batch, all_rows in enumerate(micro_batches):
            for process in range(processes):
                generator = self._generator(micro_batch, process)
                rows.append(all_rows[process::processes])
                labels.append(self._augmented_labels(rows[-1], generator.clone_state()))
                if process == self._trainer().global_rank:
                    generators.append(generator)
        points = torch.cat(labels)  # (M, L, K, 2)
        source = self._resident(points.device)["source"][torch.cat(rows)]
        shared = {"step_points": points[:, 0], "step_source": source}
        return _Step(generators, {**shared, "step_teacher_points": points[:, 1:]} if points.shape[1] > 1 else shared)

    def _gather(self, rows: Tensor) -> Tensor:
        """Images float32 (N, 1, H, W) or (N, 3, H, W) on the rows' device."""
        images = self.table.images
        if isinstance(images, HostImages):
            gathered = torch.from_numpy(images[rows.cpu().numpy()]).to(rows.device)
        else:
            gathered = self._resident(rows.device)["image"][rows]
        return channels_first(gathered).float()

    def _resident(self, device: torch.device) -> Batch:
        """The table's tensors on the device, copied once (7049 faces are 65 MB); without `HostImages`."""
        if self._on_device is None or self._on_device["labels"].device != device:
            arrays = {"labels": self.labels, "source": self.table.source}
            if not isinstance(self.table.images, HostImages):
                arrays["image"] = self.table.images
            tensors = {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}
            tensors |= {"flip_order": self.flip_order.to(device), "offset": self.offset.to(device)}
            self._on_device = {**tensors, "source": tensors["source"].long()}
        return self._on_device


class _Step(NamedTuple):
    """What the micro-batches of an optimiser step share.

    Attributes:
        generators: of this process's micro-batches, which have drawn nothing yet.
        labels: ``step_points`` and so on.
    """

    generators: list[torch.Generator]
    labels: Batch


class ShardedBatches(DistributedSampler[Rows]):
    """Batches of row numbers; each is split over the processes, without padding.

    Every process gets the same number of batches, so that collective calls match. Its parts of a batch differ by at
    most one row from those of others. As a `DistributedSampler` it is not split once more by a caller's Trainer.

    Args:
        steps: called at the start of every epoch, with the same result in every process: the micro-batches of each
            optimiser step, as row numbers.
        batches: number of micro-batches in an epoch.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(
        self, steps: Callable[[], Iterable[list[np.ndarray]]], batches: int, rank: int, world_size: int
    ) -> None:
        self.steps, self.batches, self.rank, self.world_size = steps, batches, rank, world_size

    def __iter__(self) -> Iterator[Rows]:
        for step in self.steps():
            all_rows = tuple(torch.from_numpy(batch) for batch in step)
            for micro_batch, rows in enumerate(all_rows):
                yield Rows(rows[self.rank :: self.world_size], micro_batch, all_rows if len(step) > 1 else ())

    def __len__(self) -> int:
        return self.batches


class _Unchanged(Dataset[Rows]):
    """A dataset whose items are the sampler's items."""

    def __getitem__(self, rows: Any) -> Rows:
        return rows


def step_generator(seed: int, step: int, process: int, micro_batch: int = 0) -> torch.Generator:
    """The generator of a batch's augmentation: the same address draws the same numbers, whatever ran before.

    Example:
        >>> first, again = step_generator(0, 7, 0), step_generator(0, 7, 0)
        >>> bool(torch.rand(1, generator=first) == torch.rand(1, generator=again))
        True
    """
    address = [seed, step, process, micro_batch]  # a last word of 0 gives the numbers of an address without it
    words = np.random.SeedSequence(address).generate_state(1, dtype=np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> 1))


def _is_in(subset: str | Mapping[str, Sequence[str]], table: FaceTable) -> np.ndarray:
    """Which rows may be trained on, bool (N,).

    Raises:
        UserError: no row has such an attribute, or such a value.
    """
    if isinstance(subset, Mapping):
        return subset_of_table(table, subset, "subset")
    return np.asarray(table.mask.all(axis=1)) if subset == "complete" else np.ones(len(table), dtype=bool)


def _subset_text(subset: str | Mapping[str, Sequence[str]]) -> str:
    return subset if isinstance(subset, str) else f"{{{values_text(subset)}}}"


def check_split(table: FaceTable, fold_of: np.ndarray, fold: int, subset: str | Mapping[str, Sequence[str]]) -> None:
    """Check what a `FaceData` is asked for.

    Raises:
        UserError: there is no such fold or subset, or no point of the table is labelled.
    """
    folds = int(fold_of.max()) + 1
    if folds and fold not in range(folds):
        raise UserError(f"data.fold={fold}: with data.folds={folds} it must be one of 0 to {folds - 1}")
    if not isinstance(subset, Mapping) and subset not in SUBSETS:
        raise UserError(f"subset={subset}: choose one of {', '.join(SUBSETS)}, or {{ATTRIBUTE: VALUE}}")
    if np.isnan(table.points).all():
        raise UserError("the table holds no labelled point at all; there is nothing to train on")
