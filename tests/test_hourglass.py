"""The networks: shapes, the published parameter count, gradients everywhere, and mistakes answered in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from facekp.errors import UserError
from facekp.hourglass import Hourglass, Residual
from facekp.networks import build_network

SMALL = {"heatmaps": 5, "stride": 4, "channels": 16, "levels": 2, "stacks": 1}


def small(**changed: Any) -> nn.Module:
    return build_network("hourglass", **{**SMALL, **changed})


def faces(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("stacks", [1, 2, 8])
def test_one_set_of_heatmaps_a_stack_at_the_stride(stride: int, stacks: int) -> None:
    network = small(stride=stride, stacks=stacks)
    answers = network(faces(2))
    assert network.stride == stride
    assert [tuple(a.shape) for a in answers] == [(2, 5, 32 // stride, 32 // stride)] * stacks


@pytest.mark.parametrize(("height", "width"), [(33, 50), (97, 95), (9, 5)])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_sizes_that_no_power_of_two_divides_work(stride: int, height: int, width: int) -> None:
    (answer,) = small(stride=stride, levels=3)(faces(2, height, width))
    assert answer.shape == (2, 5, height // stride, width // stride)


def test_seed_has_every_published_parameter_and_the_image_size() -> None:
    network = build_network("hourglass_seed", heatmaps=15)

    def conv(inputs: int, outputs: int, kernel: int = 1) -> int:
        return inputs * outputs * kernel**2 + outputs

    residual = 2 * 128 + conv(128, 64) + 2 * 64 + conv(64, 64, 3) + 2 * 64 + conv(64, 128)
    published = conv(1, 64) + conv(64, 128) + (4 * 3 + 1) * residual + conv(128, 15) + 2 * 15
    assert sum(p.numel() for p in network.parameters()) == published == 712621
    (answer,) = network(faces(1, 96, 96))
    assert network.stride == 1
    assert answer.shape == (1, 15, 96, 96)


@pytest.mark.parametrize("name", ["hourglass", "hourglass_seed"])
def test_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = small(stacks=2) if name == "hourglass" else build_network(name, heatmaps=5)
    loss = sum(((answer - 1) ** 2).mean() for answer in network(faces(4)))
    loss.backward()
    gradients = {key: p.grad for key, p in network.named_parameters()}
    assert not [key for key, grad in gradients.items() if grad is None]
    # a bias in front of a BatchNorm is subtracted again, so its gradient is rounding; every weight must feel the loss
    assert not [key for key, grad in gradients.items() if key.endswith("weight") and not grad.abs().max() > 0]


def test_every_stack_is_supervised_and_the_next_one_sees_its_answer() -> None:
    torch.manual_seed(0)
    network = small(stacks=2).eval()
    first, second = network(faces(1))
    with torch.no_grad():
        network.heads[0].bias += 1.0
    moved, follows = network(faces(1))
    assert torch.allclose(moved, first + 1.0, atol=1e-5)
    assert not torch.allclose(follows, second, atol=1e-4)


def test_default_head_is_linear_and_starts_flat_while_the_seed_is_never_negative() -> None:
    torch.manual_seed(0)
    linear, rectified = small()(faces(4))[0], build_network("hourglass_seed", heatmaps=5)(faces(4))[0]
    assert linear.min() < 0 < linear.max()
    assert linear.abs().max() < 0.5
    assert rectified.min() == 0 < rectified.max()


@pytest.mark.parametrize("name", ["hourglass", "hourglass_seed"])
def test_an_answer_in_eval_mode_does_not_depend_on_the_batch(name: str) -> None:
    torch.manual_seed(0)
    network = small(stacks=2) if name == "hourglass" else build_network(name, heatmaps=5)
    images = faces(3)
    network(images)  # moves the running statistics off their start
    network.eval()
    with torch.inference_mode():
        together = network(images)[-1]
        alone = torch.cat([network(image[None])[-1] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_mirrored_image_gives_mirrored_heatmaps_at_every_stride() -> None:
    """With symmetric kernels it must hold exactly: the stem leaves no half-pixel drift between cells and pixels."""
    torch.manual_seed(0)
    for stride in (1, 2, 4):
        network = small(stride=stride).eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight += module.weight.flip(-1)
        images = faces(2)
        with torch.inference_mode():
            straight, mirrored = network(images)[0], network(images.flip(-1))[0]
        torch.testing.assert_close(mirrored.flip(-1), straight, atol=1e-5, rtol=1e-4)


def test_residual_is_the_pre_activation_bottleneck_plus_its_input() -> None:
    torch.manual_seed(0)
    block = Residual(8, 8).eval()
    x = torch.randn(2, 8, 6, 6)
    y = x
    for norm, conv, padding in ((0, 2, 0), (3, 5, 1), (6, 8, 0)):
        y = torch.relu(y / (1 + 1e-5) ** 0.5)  # BatchNorm that has seen nothing: mean 0, variance 1
        y = nn.functional.conv2d(y, block.body[conv].weight, block.body[conv].bias, padding=padding)
        assert isinstance(block.body[norm], nn.BatchNorm2d)
    torch.testing.assert_close(block(x), x + y)
    assert Residual(8, 12)(x).shape == (2, 12, 6, 6)


def test_hourglass_reaches_as_low_as_its_levels_say() -> None:
    sizes: list[int] = []
    network = Hourglass(levels=3, channels=8)
    for module in network.modules():
        if isinstance(module, Residual):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-1]))
    network(torch.randn(1, 8, 24, 24))
    assert sorted(sizes) == [3, 3, 3, 6, 6, 6, 12, 12, 12, 24]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hourglas", {}, "network.name: 'hourglas' is not one of hourglass, hourglass_seed"),
        ("hourglass", {**SMALL, "stride": 3}, "network.stride: 3 is not one of 1, 2, 4"),
        ("hourglass", {**SMALL, "stacks": 9}, "network.stacks: 9 is not a whole number from 1 to 8"),
        ("hourglass", {**SMALL, "levels": 0}, "network.levels: 0 is not a whole number from 1 to 8"),
        (
            "hourglass",
            {**SMALL, "channels": 30},
            "network.channels: 30 is not a whole number from 8 to 1024 in steps of 4",
        ),
        ("hourglass", {**SMALL, "channels": "wide"}, "network.channels: 'wide' is not a whole number"),
        ("hourglass", {**SMALL, "depth": 3}, "network hourglass: unknown setting 'depth'; it takes heatmaps, stride"),
        ("hourglass", {"heatmaps": 5, "stride": 4}, "network hourglass: setting 'channels' is missing"),
        ("hourglass_seed", {"heatmaps": 0}, "network.heatmaps: 0 is not a whole number from 1 to 10000"),
        ("hourglass_seed", {"heatmaps": 15, "stride": 2}, "network hourglass_seed: unknown setting 'stride'"),
    ],
)
def test_mistakes_name_the_setting_and_what_is_allowed(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_network(name, **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
