"""`device=...`: automatic, checked, and refused in one line."""

import pytest
import torch

from facekp.core.device import choose_device
from facekp.core.errors import UserError


@pytest.mark.parametrize(("available", "expected"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device().type == choose_device("auto").type == expected
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", r"^device=cuda: is not available here \(.*CUDA.*\); use device=auto or device=cpu$"),
        ("cuda:3", r"^device=cuda:3: is not available here"),
        ("gpu", "^device=gpu: torch knows no such device; .*did you mean cuda"),
        ("cuda:x", "^device=cuda:x: torch knows no such device"),
        (None, "^device=None: torch knows no such device"),
        ("meta", r"^device=meta: is not available here"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(monkeypatch, name, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message) as error:
        choose_device(name)
    assert "\n" not in str(error.value)


def test_a_gpu_with_a_number_too_high_is_refused_with_those_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"device=cuda:2: the GPUs here are cuda:0 to cuda:1"):
        choose_device("cuda:2")
