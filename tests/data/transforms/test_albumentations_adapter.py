"""Transforms of albumentations: greys change, points stay, the numbers come from the batch's generator."""

import sys

import numpy as np
import pytest
import torch

from facekp.core.errors import UserError
from tests.data.transforms.test_base import augment

NOISE = {"name": "albumentations", "transform": "GaussNoise", "arguments": {"std_range": [0.1, 0.1], "p": 1.0}}


@pytest.fixture
def albumentations():
    return pytest.importorskip("albumentations")


def test_greys_change_as_in_albumentations_and_points_stay(albumentations):
    plain, points = augment([])
    inverted, moved = augment([{"name": "albumentations", "transform": "InvertImg", "arguments": {"p": 1.0}}])
    assert torch.equal(moved, points)
    assert torch.equal(inverted, 255 - plain.round())
    noise = (augment([NOISE])[0] - plain)[plain > 80]  # darker pixels are clipped
    assert noise.std() == pytest.approx(25.5, rel=0.05)


def test_numbers_come_from_the_generator_alone(albumentations):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = augment([NOISE], 1)[0], augment([NOISE], 1)[0], augment([NOISE], 2)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": "GaussNoize"}, "no image-only transform 'GaussNoize'.*GaussNoise"),
        ({"transform": "Rotate"}, "no image-only transform 'Rotate'"),
        ({"arguments": {"sigma": 1}}, r"Argument\(s\) 'sigma' are not valid for transform GaussNoise"),
        ({"arguments": {"std_range": "x"}}, "std_range"),
    ],
)
def test_what_albumentations_refuses_is_named_at_the_start(albumentations, change, message):
    with pytest.raises(UserError, match=message) as error:
        augment([{**NOISE, **change}])
    assert "\n" not in str(error.value)


def test_without_albumentations_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(
        UserError, match=r"augment.transforms.albumentations: needs albumentations.*pip install 'facekp\[augment\]'"
    ):
        augment([NOISE])
