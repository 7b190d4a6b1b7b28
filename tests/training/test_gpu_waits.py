"""A training step never makes the CPU wait for a GPU: shown on torch's device ``meta``, which has no data.

On ``meta``, reading a number back raises an error, and every copy from the CPU is seen.
"""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from facekp.core import device
from facekp.data.datamodule import FaceData, step_generator
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.losses import build_loss, labelled_mean
from facekp.models.keypoint_model import KeypointModel
from tests.conftest import TINY, settings_of

META = torch.device("meta")


class CopiesToDevice(TorchDispatchMode):
    """Collects the functions of facekp that copy a tensor from the CPU."""

    def __init__(self):
        super().__init__()
        self.by = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if function.name().startswith(("aten::_to_copy", "aten::copy_")):
            source = arguments[1] if function.name().startswith("aten::copy_") else arguments[0]
            if source.device.type != result.device.type:
                self.by.append(caller())
        return result


def caller():
    frame = sys._getframe()
    while "facekp" not in frame.f_code.co_filename.replace("\\", "/").split("/src/")[-1]:
        frame = frame.f_back
    return frame.f_code.co_name


def on_meta(model):
    """The model with parameters and buffers that have a shape only; `to` would do the same to a real GPU."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty_like(parameter, device=META)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, device=META))
    return model


ALL_DEGRADED = ["augment=robust", "augment.transforms.0.probability=1", "augment.transforms.0.most=8"]


@pytest.mark.parametrize(
    "choices", [["augment=strong"], ["augment=wild", "optimizer=muon"], ["loss=mse", "augment=none"], ALL_DEGRADED]
)
def test_a_training_step_copies_through_page_locked_memory_and_reads_nothing_back(scheme, choices):
    settings = settings_of(*TINY, *choices)
    data = FaceData(draw_faces(6, 0, scheme), np.arange(6) % 3, 0, "full", 4, settings.augment, seed=0)
    model = on_meta(KeypointModel(scheme, (96, 96), settings.model, settings.loss.activation, settings.decoder))
    loss = build_loss(settings.loss)
    data._resident(META)  # once per training
    with CopiesToDevice() as copies:
        batch = data.assemble(torch.empty(4, dtype=torch.int64, device=META), step_generator(0, 0, 0))
        raw = model(batch["image"])[-1]
        target, cells = model.target(model.labels_by_channel(batch["points"], batch["source"]))
        labelled_mean(loss(raw, target, cells), ~cells[..., 0].isnan()).backward()
    drawn_by_gpus_themselves = ["draw_normal"] if settings.augment.noise or settings.augment.transforms else []
    assert sorted(set(copies.by)) == sorted(["copied_to", *drawn_by_gpus_themselves])


def test_a_copy_to_a_gpu_is_page_locked_and_asynchronous(monkeypatch):
    calls = []

    class Host(torch.Tensor):
        def pin_memory(self):
            calls.append("pinned")
            return self

        def to(self, *given, **keywords):
            calls.append((given, keywords))
            return self

    class Gpu:
        is_cuda, device, dtype = True, torch.device("cuda", 0), torch.float16

    device.copied_to(torch.zeros(2).as_subclass(Host), Gpu())
    assert calls == [((torch.float16,), {}), "pinned", ((torch.device("cuda", 0),), {"non_blocking": True})]


def test_a_copy_on_the_cpu_is_the_tensor_itself():
    values = torch.zeros(2)
    assert device.copied_to(values, torch.ones(1)) is values
