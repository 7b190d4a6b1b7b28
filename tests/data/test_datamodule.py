"""Batches: who is in them, in which order, dealt over how many processes."""

from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from facekp.data.augment import Augmentation
from facekp.data.datamodule import FaceData, ShardedBatches, step_generator
from tests.data.test_augment import OFF


def data_of(faces, epoch=0, rank=0, world=1, seed=0, **changes):
    settings = {"fold": 0, "subset": "full", "batch_size": 8, **changes}
    data = FaceData(faces, np.arange(len(faces)) % 5, augmentation=Augmentation(**OFF), seed=seed, **settings)
    data.trainer = SimpleNamespace(
        current_epoch=epoch, global_rank=rank, world_size=world, training=True, global_step=0
    )
    return data


def rows_of(loader):
    return [batch.tolist() for batch in loader]


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


def test_shuffling_draws_from_seed_and_epoch_alone(faces):
    order = rows_of(data_of(faces, epoch=3).train_dataloader())
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert rows_of(data_of(faces, epoch=3).train_dataloader()) == order
    assert rows_of(data_of(faces, epoch=4).train_dataloader()) != order
    assert rows_of(data_of(faces, epoch=3, seed=1).train_dataloader()) != order


def test_processes_share_every_batch_without_padding(faces):
    whole = rows_of(data_of(faces).val_dataloader())
    parts = [rows_of(data_of(faces, rank=r, world=3).val_dataloader()) for r in range(3)]
    assert len({len(p) for p in parts}) == 1
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(chain(*shares)) == sorted(batch)


def test_sampler_length_is_its_number_of_batches():
    assert len(ShardedBatches(lambda: [np.arange(3), np.arange(2)], 0, 1)) == 2


def test_a_batch_holds_the_rows_asked_for(faces):
    batch = data_of(faces).on_after_batch_transfer(torch.tensor([5, 9]), 0)
    np.testing.assert_allclose(batch["image"][:, 0].numpy(), faces.images[[5, 9]], atol=1e-2)
    np.testing.assert_allclose(batch["points"].numpy(), faces.points[[5, 9]], atol=1e-4)
    assert batch["source"].tolist() == faces.source[[5, 9]].tolist()


def test_step_generators_differ_by_seed_step_and_process():
    draws = [
        torch.rand(1, generator=step_generator(*address)).item()
        for address in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    assert len(set(draws)) == 4
    assert torch.rand(1, generator=step_generator(0, 0, 0)).item() == draws[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fold": 5}, "data.fold=5: with data.folds=5"),
        ({"subset": "half"}, "subset=half: choose one of full, complete"),
    ],
)
def test_a_bad_setting_is_named(faces, change, told):
    with pytest.raises(UserError, match=told):
        data_of(faces, **change)


def test_a_batch_must_hold_a_row_for_every_process(faces):
    with pytest.raises(UserError, match="batch_size=2: must be at least"):
        data_of(faces, batch_size=2, world=3).train_dataloader()


def test_a_share_without_rows_is_an_empty_batch(faces):
    batches = list(data_of(faces, rank=2, world=3).val_dataloader())
    data = data_of(faces)
    empty = data.on_after_batch_transfer(batches[0][:0], 0)
    assert empty["image"].shape == (0, 1, 96, 96)
