"""`trainer.precision=auto`: bfloat16 where the device has instructions for it."""

import pytest
import torch

from facekp.networks.precision import fastest_precision


@pytest.fixture
def machine(monkeypatch):
    """Describes the machine: what its processor and its GPU can do."""

    def describe(amx=False, avx512_bf16=False, gpu=None, mps=False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu == "bf16")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return describe


@pytest.mark.parametrize(
    ("accelerator", "parts", "precision"),
    [
        ("cpu", {}, "32-true"),
        ("cpu", {"amx": True}, "bf16-mixed"),
        ("cpu", {"avx512_bf16": True}, "bf16-mixed"),
        ("cpu", {"gpu": "bf16"}, "32-true"),
        ("gpu", {"gpu": "bf16"}, "bf16-mixed"),
        ("gpu", {"gpu": "old", "amx": True}, "32-true"),
        ("auto", {"gpu": "old", "amx": True}, "32-true"),
        ("auto", {"amx": True}, "bf16-mixed"),
        ("auto", {"mps": True, "amx": True}, "32-true"),
        ("mps", {"mps": True}, "32-true"),
    ],
)
def test_the_device_of_the_training_decides(machine, accelerator, parts, precision):
    machine(**parts)
    assert fastest_precision(accelerator) == precision


def test_the_functions_of_torch_answer_on_this_machine():
    assert fastest_precision("cpu") in ("bf16-mixed", "32-true")
