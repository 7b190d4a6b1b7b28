"""Transforms of kornia: greys change, points stay, the global random state is left alone."""

import sys

import pytest
import torch

from facekp.core.errors import UserError
from facekp.data.transforms.base import AUGMENTATIONS
from tests.data.transforms.test_base import augment

NOISE = {"name": "kornia", "transform": "RandomGaussianNoise", "arguments": {"std": 0.1, "p": 1.0}}


@pytest.fixture
def kornia():
    return pytest.importorskip("kornia")


def test_greys_change_as_in_kornia_and_points_stay(kornia):
    plain, points = augment([])
    changed, moved = augment([NOISE])
    assert torch.equal(moved, points)
    noise = (changed - plain)[plain > 80]  # darker pixels are clipped
    assert noise.std() == pytest.approx(25.5, rel=0.05)
    blur = {"kernel_size": [5, 5], "sigma": [1.5, 1.5], "p": 1.0}
    blurred, _ = augment([{"name": "kornia", "transform": "RandomGaussianBlur", "arguments": blur}])
    expected = kornia.filters.gaussian_blur2d(plain, (5, 5), (1.5, 1.5))
    torch.testing.assert_close(blurred, expected, atol=0.01, rtol=0)


def test_numbers_come_from_the_generator_alone(kornia):
    state = torch.get_rng_state()
    first, again, other = augment([NOISE], 1)[0], augment([NOISE], 1)[0], augment([NOISE], 2)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": "RandomGaussianNoize"}, "no intensity transform 'RandomGaussianNoize'.*RandomGaussianNoise"),
        ({"transform": "RandomAffine"}, "no intensity transform 'RandomAffine'"),
        ({"arguments": {"sigma": 1}}, "RandomGaussianNoise can't be used on grey images: .*'sigma'"),
    ],
)
def test_what_kornia_refuses_is_named_at_the_start(kornia, change, message):
    with pytest.raises(UserError, match=message) as error:
        augment([{**NOISE, **change}])
    assert "\n" not in str(error.value)


def test_a_transform_of_colours_is_refused_for_grey_images_only(kornia):
    jitter = AUGMENTATIONS.parse({"name": "kornia", "transform": "RandomPlanckianJitter", "arguments": {}})
    assert jitter.problem(3) == ""
    assert jitter.problem(1).startswith("kornia's RandomPlanckianJitter can't be used on grey images: ")


def test_without_kornia_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(UserError, match=r"needs kornia, .*pip install 'facekp\[augment\]'"):
        augment([NOISE])
