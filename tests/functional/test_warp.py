"""Images and points move together."""

import torch

from facekp.functional.warp import _inverse_on_gpu, move_points, warp, warp_images


def blob_centre(images):
    """(N, 2): centre of mass, (x, y) in pixels."""
    weight = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
    y, x = (torch.arange(n, dtype=images.dtype) for n in images.shape[-2:])
    return torch.stack([weight.sum(1) @ x, weight.sum(2) @ y], dim=-1)


def spot(x, y, size=64, sigma=2.0):
    grid = torch.arange(size, dtype=torch.float64)
    across, down = (torch.exp(-((grid - c) ** 2) / (2 * sigma**2)) for c in (x, y))
    return (down[:, None] * across)[None, None]


def test_a_spot_goes_where_its_point_goes():
    images = torch.cat([spot(30, 25), spot(20, 40)])
    points = torch.tensor([[[30.0, 25.0]], [[20.0, 40.0]]], dtype=torch.float64)
    cos, sin = 0.9 * torch.cos(torch.tensor(0.3)), 0.9 * torch.sin(torch.tensor(0.3))
    matrix = torch.tensor([[cos, -sin, 9.0], [sin, cos, -3.0]], dtype=torch.float64).expand(2, 2, 3)
    field = 3 * torch.rand(2, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.5
    for given in (None, field):
        moved, target = warp(images, points, matrix, given)
        torch.testing.assert_close(blob_centre(moved), target[:, 0], atol=0.15, rtol=0)


def test_a_spot_in_an_image_that_is_not_square_goes_where_its_point_goes():
    images = spot(50, 20, size=72)[:, :, :40]
    points = torch.tensor([[[50.0, 20.0], [60.0, 35.0]]], dtype=torch.float64)
    matrix = torch.tensor([[[0.9, 0.2, -9.0], [-0.2, 0.9, 11.0]]], dtype=torch.float64)
    moved, target = warp(images, points, matrix)
    torch.testing.assert_close(blob_centre(moved), target[:, 0], atol=0.15, rtol=0)
    down = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 10.0]]], dtype=torch.float64)
    _, target = warp(images, points, down)  # 45 is below the 40 rows, though not below the number of columns
    assert target[0, 0].tolist() == [50.0, 30.0]
    assert target[0, 1].isnan().all()


def test_the_two_halves_are_the_whole():
    images, points = torch.rand(3, 1, 32, 48), 40 * torch.rand(3, 5, 2)
    matrix = torch.eye(2, 3).expand(3, 2, 3) + 0.1 * torch.rand(3, 2, 3)
    warped, moved = warp(images, points, matrix)
    assert torch.equal(warped, warp_images(images, matrix))
    assert torch.equal(moved.nan_to_num(-1), move_points(points, matrix, (32, 48)).nan_to_num(-1))


def test_points_that_leave_the_image_become_unlabelled():
    shift = torch.tensor([[[1.0, 0.0, 20.0], [0.0, 1.0, 0.0]]])
    moved = move_points(torch.tensor([[[30.0, 10.0], [10.0, 10.0]]]), shift, (48, 48))
    assert moved[0, 0].isnan().all()
    assert moved[0, 1].tolist() == [30.0, 10.0]


def test_an_image_reaches_from_0_to_its_width_and_height():
    points = torch.tensor([[[0.0, 0.0], [48.0, 40.0], [47.5, 10.0], [48.1, 10.0], [10.0, 40.1], [-0.1, 10.0]]])
    moved = move_points(points, torch.eye(2, 3)[None], (40, 48))
    assert moved[0, :3].tolist() == points[0, :3].tolist()
    assert moved[0, 3:].isnan().all()


def test_a_point_is_followed_through_the_strongest_field():
    signs = torch.randint(0, 2, (8, 2, 7, 7), generator=torch.Generator().manual_seed(0))
    field = 5.0 * (2 * signs - 1).double()
    points = torch.cartesian_prod(torch.arange(10.0, 90, 7), torch.arange(10.0, 90, 7)).double().expand(8, -1, 2)
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    eye = torch.eye(2, 3).double().expand(8, 2, 3)
    sources, moved = warp(torch.stack([x, y]).double().expand(8, 2, 96, 96), points, eye, field)
    shown = torch.nn.functional.grid_sample(sources, (moved / 47.5 - 1)[:, None], align_corners=True)[:, :, 0]
    torch.testing.assert_close(shown.transpose(1, 2), points, atol=0.05, rtol=0)


def test_the_inverse_for_gpus_is_that_of_linear_algebra():
    matrices = torch.randn(50, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(_inverse_on_gpu(matrices), torch.linalg.inv(matrices))
