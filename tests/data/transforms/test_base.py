"""Transforms of plug-ins: applied last, in order, with numbers of the batch's generator."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.core.settings import Fraction, parse
from facekp.data.augment import Augmentation
from facekp.data.transforms.base import AUGMENTATIONS
from tests.data.test_augment import OFF


@pytest.fixture
def registry(monkeypatch):
    """The registry of transforms; what a test registers is forgotten."""
    AUGMENTATIONS.names()
    monkeypatch.setattr(AUGMENTATIONS, "entries", dict(AUGMENTATIONS.entries))
    monkeypatch.setattr(AUGMENTATIONS, "own_settings", dict(AUGMENTATIONS.own_settings))
    return AUGMENTATIONS


def invert(images, points, generator, probability: Fraction = 0.5):
    chosen = torch.rand(len(images), generator=generator) < probability
    return torch.where(chosen[:, None, None, None], 255 - images, images), points


def lift(images, points, generator, by: float):
    return images + by, points + by


def crop(images, points, generator):
    return images[..., 1:], points


def augment(transforms, seed=0):
    shake = parse(Augmentation, {**OFF, "contrast": 0.3, "transforms": transforms}, "augment")
    images = torch.linspace(10, 200, 96).expand(8, 1, 96, 96).clone()
    points = torch.full((8, 1, 2), 40.0)
    return shake(images, points, torch.tensor([0]), torch.Generator().manual_seed(seed))


def test_transforms_come_last_and_in_their_order(registry):
    registry.register("invert")(invert)
    registry.register("lift")(lift)
    plain, points = augment([])
    changed, moved = augment([{"name": "invert", "probability": 1.0}, {"name": "lift", "by": 2.0}])
    torch.testing.assert_close(changed, 255 - plain + 2)
    torch.testing.assert_close(moved, points + 2)


def test_numbers_come_from_the_batch_s_generator(registry):
    registry.register("invert")(invert)
    first, again, other = (augment([{"name": "invert"}], seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    inverted = (first[:, 0, 0, 0] > first[:, 0, 0, -1]).sum()
    assert 0 < inverted < 8


def test_settings_are_checked_and_kept(registry):
    registry.register("invert")(invert)
    shake = parse(Augmentation, {**OFF, "transforms": [{"name": "invert", "probability": 0.25}]}, "augment")
    assert shake.plain()["transforms"] == [{"name": "invert", "probability": 0.25}]
    with pytest.raises(UserError, match=r"augment\.transforms\.invert\.probability=2\.0: must be at most 1"):
        parse(Augmentation, {**OFF, "transforms": [{"name": "invert", "probability": 2.0}]}, "augment")


def test_a_transform_must_keep_the_shapes(registry):
    registry.register("crop")(crop)
    with pytest.raises(UserError, match=r"crop returned images and points of shapes \(8, 1, 96, 95\)"):
        augment([{"name": "crop"}])


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda images, points: None, "NoneType"),
        (lambda images, points: images, "Tensor"),
        (lambda images, points: (images,), r"a tuple of \(Tensor\)"),
        (lambda images, points: (images, points, None), r"a tuple of \(Tensor, Tensor, NoneType\)"),
        (lambda images, points: (images, None), r"a tuple of \(Tensor, NoneType\)"),
    ],
)
def test_a_transform_must_return_images_and_points(registry, returned, words):
    registry.register("broken")(lambda images, points, generator: returned(images, points))
    with pytest.raises(
        UserError, match=rf"^augment\.transforms: broken returned {words}; it must return images, points"
    ):
        augment([{"name": "broken"}])


def test_an_error_of_a_transform_has_a_note_with_its_name(registry):
    registry.register("broken")(lambda images, points, generator: 1 // 0)
    with pytest.raises(ZeroDivisionError) as caught:
        augment([{"name": "broken"}])
    assert caught.value.__notes__ == ["raised by the transform broken of augment.transforms"]
