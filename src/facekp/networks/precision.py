"""The precision in which a device trains fastest, as ``trainer.precision=auto``: one of Lightning's names."""

from __future__ import annotations

from typing import Literal

import torch


def fastest_precision(accelerator: str) -> Literal["32-true", "bf16-mixed"]:
    """``bf16-mixed`` where the device has instructions for bfloat16, and ``32-true`` where it would emulate them.

    Args:
        accelerator: Lightning's name of the device, or ``auto``.
    """
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        has_bfloat16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    else:
        has_bfloat16 = False
    return "bf16-mixed" if has_bfloat16 else "32-true"
