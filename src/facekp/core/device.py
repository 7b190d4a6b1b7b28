"""Which device of torch computes: ``auto`` takes a GPU where there is one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from facekp.core.errors import UserError, first_line

if TYPE_CHECKING:
    import torch

AUTO = "auto"

INSTEAD = "use device=auto or device=cpu"


def choose_device(name: str = AUTO) -> torch.device:
    """The device with this name, checked.

    Args:
        name: ``auto``: the first CUDA GPU, or the CPU; otherwise of torch: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        UserError: torch knows no such device, or this machine has none.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    import torch  # imported here: settings and help must not wait for it

    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        meant = "; did you mean cuda?" if str(name).startswith("gpu") else ""
        raise UserError(f"device={name}: torch knows no such device; {INSTEAD}{meant}") from error
    if device.type == "cuda":
        _check_cuda(name, device)
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise UserError(f"device={name}: is not available here ({first_line(error)}); {INSTEAD}") from error
    return device


def restore_torch_defaults() -> None:
    """Make new tensors float32 and on the CPU again; all code here relies on this, and plug-ins may change it."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def copied_to(tensor: torch.Tensor, like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A CPU tensor on the device of another one, with its type or the given one.

    A copy to a GPU goes through page-locked memory. From ordinary memory the CPU would wait until the GPU has finished
    all its work so far, and then the GPU for the CPU.

    Args:
        tensor: on the CPU.
        like: gives device and type.
        dtype: instead of that of ``like``.
    """
    tensor = tensor.to(dtype or like.dtype)
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else tensor.to(like.device)


def copied_together(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Float32 CPU tensors on a device, by one copy through page-locked memory where that is a GPU.

    A copy costs a few microseconds, however small it is.

    Args:
        tensors: by name, on the CPU.
        device: where they go.

    Example:
        >>> import torch
        >>> copied_together({"angle": torch.zeros(2), "scale": torch.ones(1)}, torch.device("meta"))
        {'angle': tensor(..., device='meta', size=(2,)), 'scale': tensor(..., device='meta', size=(1,))}
    """
    import torch

    if device.type == "cpu" or not tensors:
        return dict(tensors)
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
    parts = copied_to(flat, torch.empty(0, device=device)).split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensors[name].shape) for name, part in zip(tensors, parts, strict=True)}


def draw_normal(shape: Sequence[int], device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """Standard normal draws, float32, on a device; a GPU draws them itself, by a seed from the generator.

    Args:
        shape: shape of the result.
        device: where the result lies.
        generator: on the CPU.
    """
    import torch

    if device.type == "cuda":
        seed = int(torch.randint(2**62, (), generator=generator))
        return torch.randn(*shape, generator=torch.Generator(device).manual_seed(seed), device=device)
    return torch.randn(*shape, generator=generator).to(device)


def _check_cuda(name: str, device: torch.device) -> None:
    """Refuse a GPU that this machine does not have.

    Raises:
        UserError: there is no such GPU.
    """
    import torch

    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number == 0:
        why = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no CUDA GPU was found"
        raise UserError(f"device={name}: is not available here ({why}); {INSTEAD}")
    if device.index is not None and device.index >= number:
        raise UserError(f"device={name}: the GPUs here are cuda:0 to cuda:{number - 1}; {INSTEAD}")
