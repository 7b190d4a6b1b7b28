"""Views: where they lie, what they show, and the mean of what counts."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.models.settings import DecoderSettings
from facekp.models.views import View, Views, is_inside, mean_over_views, other_views, to_image, to_view


def decoder(shift, scale):
    return DecoderSettings(rule="mean", floor=0.0, flip=False, shift=shift, scale=scale)


@pytest.mark.parametrize(("shift", "scale", "views"), [(0.0, 0.0, 0), (2.0, 0.0, 4), (0.0, 0.1, 2), (2.0, 0.1, 6)])
def test_shift_adds_four_views_and_scale_two(shift, scale, views):
    found = other_views(decoder(shift, scale), (96, 80))
    assert len(set(found)) == len(found) == views
    assert View(1.0, 0.0, 0.0) not in found


def test_a_shift_that_leaves_nothing_of_the_image_is_refused():
    with pytest.raises(UserError, match=r"^decoder\.shift=80\.0: must be below the image's side of 80 pixels"):
        Views(decoder(80.0, 0.0), (96, 80))


def test_scaled_views_keep_the_centre_of_the_image():
    centre = torch.tensor([39.5, 47.5])
    for view in other_views(decoder(0.0, 0.1), (96, 80)):
        torch.testing.assert_close(to_view(centre, view.factor, torch.tensor(view[1:])), centre)


def test_points_come_back_from_every_view():
    points = 96 * torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0))
    for view in other_views(decoder(3.0, 0.2), (96, 96)):
        offset = torch.tensor(view[1:])
        torch.testing.assert_close(to_image(to_view(points, view.factor, offset), view.factor, offset), points)


def test_an_image_ends_at_its_width_and_height():
    points = torch.tensor([[0.0, 0.0], [80.0, 96.0], [80.1, 5.0], [5.0, -0.1], [torch.nan, 5.0]])
    assert is_inside(points, (96, 80)).tolist() == [True, True, False, False, False]


def test_the_image_itself_shows_every_point_and_a_moved_view_those_inside_it():
    points = torch.tensor([[[-0.5, 50.0]], [[97.0, 50.0]], [[40.0, 95.0]]])  # (N, 1, 2)
    shown = Views(decoder(2.0, 0.0), (96, 96)).shows(points)  # moved left, right, up, down
    assert shown.tolist() == [
        [True, False, True, False, False],
        [True, True, False, False, False],
        [True, True, True, True, False],
    ]


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_the_mean_is_torch_s_nanmean_of_the_values_that_count(dim):
    values = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))
    counted = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.6
    expected = values.masked_fill(~counted, torch.nan).nanmean(dim=dim)
    torch.testing.assert_close(mean_over_views(values, counted, dim), expected, equal_nan=True)
    assert mean_over_views(values, torch.zeros_like(counted), dim).isnan().all()


def test_the_views_of_a_colour_image_are_those_of_its_channels():
    images = 255 * torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    views = Views(decoder(2.0, 0.1), (24, 32))
    found = views(images)
    assert found.shape == (2, 7, 3, 24, 32)
    for channel in range(3):
        assert torch.equal(found[:, :, channel], views(images[:, channel, None])[:, :, 0])
    assert torch.equal(Views(decoder(0.0, 0.0), (24, 32))(images)[:, 0], images)
