"""The hourglasses: shapes, parameter counts, gradients everywhere, mirrored answers to mirrored images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from facekp.networks.base import NETWORKS, build_network
from facekp.networks.heads import AlignedConv2d, linear_head
from facekp.networks.hourglass import BLOCKS, BasicResidual, FoldedResidual, Hourglass, Residual

SMALL = {"name": "hourglass", "stride": 4, "channels": 16, "levels": 2, "stacks": 1}
SHAPES = [{}, {"block": "basic"}, {"block": "basic", "stacks": 2}, {"block": "folded"}]


def small(**changed: Any) -> nn.Module:
    heatmaps = changed.pop("heatmaps", 5)
    return build_network(NETWORKS.parse({**SMALL, **changed}), heatmaps)


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
    network = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=15)

    def conv(inputs: int, outputs: int, kernel: int = 1) -> int:
        return inputs * outputs * kernel**2 + outputs

    residual = 2 * 128 + conv(128, 64) + 2 * 64 + conv(64, 64, 3) + 2 * 64 + conv(64, 128)
    published = conv(1, 64) + conv(64, 128) + (4 * 3 + 1) * residual + conv(128, 15) + 2 * 15
    assert sum(p.numel() for p in network.parameters()) == published == 712621
    (answer,) = network(faces(1, 96, 96))
    assert network.stride == 1
    assert answer.shape == (1, 15, 96, 96)


def conv(inputs: int, outputs: int, kernel: int, bias: bool = True) -> int:
    return inputs * outputs * kernel**2 + (outputs if bias else 0)


def block_parameters(block: str, inputs: int, outputs: int) -> int:
    skip = 0 if inputs == outputs else conv(inputs, outputs, 1)
    if block == "basic":
        return skip + 2 * inputs + conv(inputs, outputs, 3, bias=False) + 2 * outputs + conv(outputs, outputs, 3)
    if block == "folded":
        return skip + conv(inputs, outputs, 3, bias=False) + conv(outputs, outputs, 3, bias=False) + 4 * outputs
    middle = outputs // 2
    norms = 2 * (inputs + middle + middle)
    return skip + norms + conv(inputs, middle, 1) + conv(middle, middle, 3) + conv(middle, outputs, 1)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_hourglass_has_three_blocks_a_level_and_one_at_the_bottom(block: str) -> None:
    hourglass = small(block=block, levels=3).hourglasses[0][0]
    expected = (3 * 3 + 1) * block_parameters(block, 16, 16)
    assert sum(p.numel() for p in hourglass.parameters()) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_what_it_is_made_of_leaves_the_answer_s_shape_alone(shape: dict[str, Any]) -> None:
    network = small(**shape)
    answers = network(faces(2, 36, 52))
    assert [tuple(a.shape) for a in answers] == [(2, 5, 9, 13)] * shape.get("stacks", 1)
    kinds = {type(m) for m in network.modules()} & set(BLOCKS.values())
    assert kinds == {BLOCKS[shape.get("block", "bottleneck")]}


@pytest.mark.parametrize(
    ("name", "shape"), [("hourglass_seed", {}), *(("hourglass", {"stacks": 2, **shape}) for shape in SHAPES)]
)
def test_gradient_reaches_every_parameter(name: str, shape: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = small(**shape) if name == "hourglass" else build_network(NETWORKS.parse({"name": name}), heatmaps=5)
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
    published = build_network(NETWORKS.parse({"name": "hourglass_seed"}), heatmaps=5)
    linear, rectified = small()(faces(4))[0], published(faces(4))[0]
    assert linear.min() < 0 < linear.max()
    assert linear.abs().max() < 0.5
    assert rectified.min() == 0 < rectified.max()


@pytest.mark.parametrize("name", ["hourglass", "hourglass_seed"])
def test_an_answer_in_eval_mode_does_not_depend_on_the_batch(name: str) -> None:
    torch.manual_seed(0)
    network = small(stacks=2) if name == "hourglass" else build_network(NETWORKS.parse({"name": name}), heatmaps=5)
    images = faces(3)
    network(images)  # moves the running statistics off their start
    network.eval()
    with torch.inference_mode():
        together = network(images)[-1]
        alone = torch.cat([network(image[None])[-1] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mirrored_image_gives_mirrored_heatmaps_at_every_stride(stride: int, shape: dict[str, Any]) -> None:
    """With symmetric kernels it must hold exactly: the stem leaves no half-pixel drift between cells and pixels."""
    torch.manual_seed(0)
    network = small(stride=stride, **shape).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight += module.weight.flip(-1)
    images = faces(2)
    with torch.inference_mode():
        straight, mirrored = network(images)[-1], network(images.flip(-1))[-1]
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


def test_the_basic_block_is_two_pre_activated_convolutions_plus_its_input() -> None:
    torch.manual_seed(0)
    block = BasicResidual(8, 8).eval()
    x = torch.randn(2, 8, 6, 6)
    y = torch.relu(x / (1 + 1e-5) ** 0.5)  # BatchNorm that has seen nothing: mean 0, variance 1
    y = nn.functional.conv2d(y, block.body[2].weight, padding=1)
    y = torch.relu(y / (1 + 1e-5) ** 0.5)
    y = nn.functional.conv2d(y, block.body[5].weight, block.body[5].bias, padding=1)
    torch.testing.assert_close(block(x), x + y)
    assert BasicResidual(8, 12)(x).shape == (2, 12, 6, 6)


def test_the_folded_block_normalises_behind_each_convolution() -> None:
    torch.manual_seed(0)
    block = FoldedResidual(8, 8).eval()
    x = torch.randn(2, 8, 6, 6)
    norm = (1 + 1e-5) ** 0.5  # of a BatchNorm that has seen nothing
    y = torch.relu(nn.functional.conv2d(x, block.body[0].weight, padding=1) / norm)
    y = nn.functional.conv2d(y, block.body[3].weight, padding=1) / norm
    torch.testing.assert_close(block(x), torch.relu(x + y))
    assert FoldedResidual(8, 12)(x).shape == (2, 12, 6, 6)


def test_hourglass_reaches_as_low_as_its_levels_say() -> None:
    sizes: list[int] = []
    network = Hourglass(levels=3, channels=8)
    for module in network.modules():
        if isinstance(module, Residual):
            module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-1]))
    network(torch.randn(1, 8, 24, 24))
    assert sorted(sizes) == [3, 3, 3, 6, 6, 6, 12, 12, 12, 24]


@pytest.mark.parametrize("heatmaps", [15, 16, 30])
def test_outputs_filled_up_for_tensor_cores_are_the_same(heatmaps: int) -> None:
    head, x = linear_head(16, heatmaps), torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head._filled_up(x), head(x))
    outputs = []
    assert isinstance(head, AlignedConv2d)
    head._conv_forward = lambda x, weight, bias: outputs.append(len(weight)) or x  # type: ignore
    head._filled_up(x)
    assert outputs == [-(-heatmaps // 8) * 8]
