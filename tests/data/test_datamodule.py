"""Batches: their rows and order, split over processes and over the micro-batches of a step."""

from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.trainer.states import RunningStage

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data import datamodule
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData, Rows, ShardedBatches, step_generator
from facekp.data.table import HostImages
from facekp.data.transforms.base import AUGMENTATIONS
from tests.data.test_augment import MOVES, OFF


def data_of(faces, epoch=0, rank=0, world=1, seed=0, step=0, augment=OFF, **changes):
    settings = {"fold": 0, "subset": "full", "batch_size": 8, "augmentation": parse(Augmentation, augment), **changes}
    data = FaceData(faces, np.arange(len(faces)) % 5, seed=seed, **settings)
    data.trainer = SimpleNamespace(
        current_epoch=epoch,
        global_rank=rank,
        world_size=world,
        training=True,
        global_step=step,
        accumulate_grad_batches=1,
    )
    return data


def rows_of(loader):
    return [batch.rows.tolist() for batch in loader]


def test_training_and_validation_rows_are_the_fold_s(faces):
    data = data_of(faces, fold=2)
    seen = sorted(chain(*rows_of(data.train_dataloader())))
    assert set(seen) <= set(np.flatnonzero(np.arange(80) % 5 != 2))
    assert sorted(chain(*rows_of(data.val_dataloader()))) == list(range(2, 80, 5))


def test_complete_only_thins_training_rows_never_validation(faces):
    full, complete = data_of(faces), data_of(faces, subset="complete")
    whole = faces.mask.all(axis=1)
    assert complete.train_rows.tolist() == [r for r in full.train_rows if whole[r]]
    assert complete.val_rows.tolist() == full.val_rows.tolist()
    assert not whole[complete.val_rows].all()


def test_a_subset_by_attributes_only_thins_training_rows_too(faces):
    pose = np.where(np.arange(len(faces)) % 3 == 0, "large", "normal")
    table = replace(faces, attributes={"pose": pose})
    full, large = data_of(table), data_of(table, subset={"pose": ["large"]})
    assert large.train_rows.tolist() == [r for r in full.train_rows if pose[r] == "large"]
    assert large.val_rows.tolist() == full.val_rows.tolist()
    sparse = data_of(faces, subset={"source": ["sparse"]})
    assert sparse.train_rows.tolist() == [r for r in full.train_rows if faces.source[r] == 1]
    with pytest.raises(UserError, match=r"subset.pose=larg: no face has this value; did you mean large\?"):
        data_of(table, subset={"pose": ["larg"]})


def test_a_fold_without_a_label_has_no_scores_and_training_rows_without_one_are_refused(faces):
    fold_of = np.arange(len(faces)) % 5
    one = replace(faces, points=np.where((fold_of == 2)[:, None, None], faces.points, np.nan))
    assert not data_of(one).has_scores
    assert data_of(faces).has_scores
    with pytest.raises(UserError, match=r"subset=full: no row to train on has a labelled point"):
        data_of(one, fold=2)
    parts = replace(faces, attributes={"part": np.where(fold_of == 0, "val", "train")})
    with pytest.raises(UserError, match=r"subset=\{part: val\}: has no row to train on that is not held out"):
        data_of(parts, subset={"part": ("val",)})


def test_training_labels_are_counted_by_source_with_those_of_mirror_images_and_of_the_teacher(faces, scheme):
    points = faces.points.copy()
    points[::3, 0] = np.nan  # more right eyes than left ones
    faces = replace(faces, points=points)
    data = data_of(faces)
    mask, source = faces.mask[data.train_rows], faces.source[data.train_rows]
    expected = np.stack([mask[source == s].sum(axis=0) for s in (0, 1)])
    np.testing.assert_array_equal(data.train_labels, expected)
    mirrored = data_of(faces, augment={**OFF, "flip": 0.5})
    np.testing.assert_array_equal(mirrored.train_labels, expected + expected[:, scheme.flip_order()])
    labels = np.stack([scheme.labels_of(name) for name in scheme.source_names])  # (S, K)
    teacher = np.where(labels[..., None], np.float32(40), np.float32(np.nan)) + np.zeros((80, 1, 1, 2), np.float32)
    taught = data_of(faces, teacher_points=teacher)
    np.testing.assert_array_equal(taught.train_labels, expected + len(mask) * labels)


def test_shuffling_draws_from_seed_and_epoch_alone(faces):
    order = rows_of(data_of(faces, epoch=3).train_dataloader())
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert rows_of(data_of(faces, epoch=3).train_dataloader()) == order
    assert rows_of(data_of(faces, epoch=4).train_dataloader()) != order
    assert rows_of(data_of(faces, epoch=3, seed=1).train_dataloader()) != order


def test_every_batch_is_split_over_the_processes_without_padding(faces):
    whole = rows_of(data_of(faces).val_dataloader())
    parts = [rows_of(data_of(faces, rank=r, world=3).val_dataloader()) for r in range(3)]
    assert len({len(p) for p in parts}) == 1
    for batch, *of_processes in zip(whole, *parts, strict=True):
        assert sorted(chain(*of_processes)) == sorted(batch)


@pytest.mark.parametrize(("size", "sizes"), [(7, [6, 5, 5]), (8, [8, 8]), (15, [8, 8]), (16, [16])])
def test_validation_batches_are_as_few_as_their_size_allows_and_even(faces, size, sizes):
    assert sorted(map(len, rows_of(data_of(faces, batch_size=size).val_dataloader())), reverse=True) == sizes


def test_sampler_length_is_its_number_of_batches():
    steps = [[np.arange(3), np.arange(2)], [np.arange(3), np.arange(2)]]
    sampler = ShardedBatches(lambda: steps, 4, 0, 1)
    assert len(sampler) == len(list(sampler)) == 4


def test_a_batch_holds_the_requested_rows(faces):
    batch = data_of(faces).on_after_batch_transfer(Rows(torch.tensor([5, 9])), 0)
    np.testing.assert_allclose(batch["image"][:, 0].numpy(), faces.images[[5, 9]], atol=1e-2)
    np.testing.assert_allclose(batch["points"].numpy(), faces.points[[5, 9]], atol=1e-4)
    assert batch["source"].tolist() == faces.source[[5, 9]].tolist()


def test_step_generators_differ_by_seed_step_process_and_micro_batch():
    draws = [
        torch.rand(1, generator=step_generator(*address)).item()
        for address in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0, 1)]
    ]
    assert len(set(draws)) == 5
    assert torch.rand(1, generator=step_generator(0, 0, 0)).item() == draws[0]


def test_the_first_micro_batch_draws_what_an_address_of_three_words_drew():
    words = np.random.SeedSequence([3, 11, 2]).generate_state(1, dtype=np.uint64)
    before = torch.Generator().manual_seed(int(words[0] >> 1))
    assert torch.equal(torch.rand(5, generator=before), torch.rand(5, generator=step_generator(3, 11, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 5}, "data.fold=5: with data.folds=5"),
        ({"subset": "half"}, "subset=half: choose one of full, complete"),
    ],
)
def test_an_invalid_setting_is_named(faces, change, message):
    with pytest.raises(UserError, match=message):
        data_of(faces, **change)


def test_a_batch_must_hold_a_row_for_every_process(faces):
    with pytest.raises(UserError, match="batch_size=2: must be at least"):
        data_of(faces, batch_size=2, world=3).train_dataloader()


def test_a_process_without_rows_gets_an_empty_batch(faces):
    empty = data_of(faces, augment=MOVES).on_after_batch_transfer(Rows(torch.empty(0, dtype=torch.long)), 0)
    assert empty["image"].shape == (0, 1, 96, 96)


# Accumulated batches


def batches_of(data):
    """The batches of an epoch; the trainer's step moves after every ``accumulate`` of them."""
    batches = []
    for i, rows in enumerate(data.train_dataloader()):
        data.trainer.global_step = i // data.accumulate
        batches.append(data.on_after_batch_transfer(rows, 0))
    return batches


def test_micro_batches_of_a_step_hold_the_rows_of_one_larger_batch(faces):
    for rows in ({}, {"epoch": 1}):
        large, small = data_of(faces, batch_size=15, **rows), data_of(faces, batch_size=5, accumulate=3, **rows)
        assert large.steps_per_epoch == small.steps_per_epoch == 4
        micro_batches = rows_of(small.train_dataloader())
        assert len(micro_batches) == 12
        steps = [list(chain(*micro_batches[i : i + 3])) for i in range(0, 12, 3)]
        assert steps == rows_of(large.train_dataloader())


def test_a_step_of_few_rows_still_has_all_its_micro_batches(faces):
    data = data_of(faces, batch_size=32, accumulate=4)  # 64 rows
    assert [len(rows) for rows in rows_of(data.train_dataloader())] == [16] * 4


def test_accumulated_batches_draw_their_own_numbers(faces):
    data = data_of(faces, batch_size=4, accumulate=3, augment=MOVES)
    rows = torch.arange(4)
    batches = [data.on_after_batch_transfer(Rows(rows, i, [rows] * 3), 0) for i in range(3)]
    data.trainer.global_step = 1
    batches += [data.on_after_batch_transfer(Rows(rows, i, [rows] * 3), 0) for i in range(3)]
    for i, batch in enumerate(batches):
        for other in batches[:i]:
            assert not torch.equal(batch["image"], other["image"])
            assert not torch.equal(batch["points"].nan_to_num(), other["points"].nan_to_num())


def test_the_first_micro_batch_is_that_of_a_step_without_accumulation(faces):
    rows = torch.arange(4)
    alone = data_of(faces, augment=MOVES, step=7).on_after_batch_transfer(Rows(rows), 0)
    first = data_of(faces, augment=MOVES, step=7, accumulate=2).on_after_batch_transfer(Rows(rows, 0, [rows, rows]), 0)
    assert set(first) - set(alone) == {"step_points", "step_source"}
    for name, value in alone.items():
        assert torch.equal(value.nan_to_num(), first[name].nan_to_num()), name


def wobble(images, points, generator):
    """A transform that moves points, so that these depend on more than the built-in movement."""
    return images, points + torch.rand(len(points), 1, 2, generator=generator)


@pytest.mark.parametrize("transforms", [[], [{"name": "wobble"}]])
@pytest.mark.parametrize("processes", [1, 2])
def test_step_labels_are_those_of_all_micro_batches_and_processes(faces, monkeypatch, transforms, processes):
    AUGMENTATIONS.names()
    monkeypatch.setitem(AUGMENTATIONS.entries, "wobble", wobble)
    monkeypatch.setattr(AUGMENTATIONS, "own_settings", dict(AUGMENTATIONS.own_settings))
    teacher = np.stack([faces.points + 1, faces.points - 1], axis=1)
    augment = {**MOVES, "shift": 30.0, "elastic": 2.0, "transforms": transforms}
    changes = {"augment": augment, "batch_size": 6, "accumulate": 2, "teacher_points": teacher, "world": processes}
    epochs = [batches_of(data_of(faces, rank=rank, **changes)) for rank in range(processes)]
    assert len(epochs[0]) == 10
    for i in range(0, 10, 2):
        parts = [epoch[i + micro_batch] for micro_batch in range(2) for epoch in epochs]
        for name in ("points", "source", "teacher_points"):
            expected = torch.cat([part[name] for part in parts])
            for part in parts:
                assert torch.equal(part[f"step_{name}"].nan_to_num(), expected.nan_to_num()), name


def test_without_accumulation_and_in_validation_batches_hold_no_step_labels(faces):
    data = data_of(faces, augment=MOVES)
    assert set(batches_of(data)[0]) == {"image", "points", "source", "row"}
    data = data_of(faces, augment=MOVES, accumulate=2)
    data.trainer.training = False
    (rows, *_) = data.val_dataloader()
    assert set(data.on_after_batch_transfer(rows, 0)) == {"image", "points", "source", "row"}


class OneWeight(LightningModule):
    """Learns the mean grey; keeps the batches that it gets."""

    def __init__(self):
        super().__init__()
        self.grey = torch.nn.Parameter(torch.zeros(()))
        self.batches = []

    def training_step(self, batch, batch_idx):
        self.batches.append((self.global_step, batch))
        return (batch["image"].mean() - self.grey) ** 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("accumulate", [3, 1])  # 1: the Trainer accumulates, but the data does not know
def test_every_batch_of_a_training_has_its_own_address(faces, monkeypatch, tmp_path, accumulate):
    addresses = []
    original = datamodule.step_generator
    monkeypatch.setattr(datamodule, "step_generator", lambda *given: addresses.append(given) or original(*given))
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 5, parse(Augmentation, MOVES), 0, accumulate=accumulate)
    model = OneWeight()
    trainer = Trainer(
        max_epochs=2,
        accumulate_grad_batches=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, data)
    assert trainer.global_step == 8
    assert len(model.batches) == 24
    assert len(addresses) == len(set(addresses)) == 24
    for step in range(8):
        batches = [batch for at, batch in model.batches if at == step]
        expected = torch.cat([batch["points"] for batch in batches])
        assert len(batches) == 3
        for batch in batches if accumulate > 1 else ():
            assert torch.equal(batch["step_points"].nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {},
            {"overfit_batches": 1},
            r"^Trainer\(overfit_batches=1\): FaceData shuffles in every epoch; give it a table",
        ),
        ({"accumulate": 3}, {}, r"^FaceData\(accumulate=3\): the Trainer has accumulate_grad_batches=1; give both"),
    ],
)
def test_a_caller_s_trainer_that_does_not_suit_the_batches_is_refused(faces, changes, options, message):
    data = data_of(faces, **changes)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **options)
    with pytest.raises(UserError, match=message):
        data.setup("fit")


def test_loaders_without_a_trainer_are_refused(faces):
    data = FaceData(faces, np.arange(80) % 5, 0, "full", 5, parse(Augmentation, OFF), seed=0)
    with pytest.raises(
        UserError, match=r"^FaceData: has no Trainer yet; call Trainer.fit\(estimator, datamodule=data\)"
    ):
        data.val_dataloader()


def test_a_caller_s_trainer_does_not_split_the_batches_once_more(faces):
    trainer = Trainer(accelerator="cpu", strategy="ddp", devices=2, logger=False, enable_checkpointing=False)
    loader = data_of(faces, world=2).train_dataloader()
    assert trainer._data_connector._prepare_dataloader(loader, False, RunningStage.TRAINING).sampler is loader.sampler


def test_colours_come_first_in_a_batch_and_are_augmented_like_grey_levels(faces):
    factors = np.array([1.0, 0.5, 0.25])
    images = (faces.images[..., None] * factors).astype(np.uint8)
    augment = {**MOVES, "flip": 0.5, "erase": 0.0}
    batches = [
        data_of(table, augment=augment).assemble(torch.arange(6), step_generator(0, 0, 0))
        for table in (faces, replace(faces, images=images), replace(faces, images=HostImages(images)))
    ]
    grey, colour, on_host = (batch["image"] for batch in batches)
    assert colour.shape == (6, 3, 96, 96)
    torch.testing.assert_close(colour[:, :1], grey)
    torch.testing.assert_close(colour[:, 1:2], grey / 2, atol=1.5, rtol=0)
    assert torch.equal(colour, on_host)
    torch.testing.assert_close(batches[1]["points"], batches[0]["points"], equal_nan=True)
