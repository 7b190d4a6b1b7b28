"""The training step: accumulated batches equal one large batch; a diverging training ends with one line."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from facekp.core.errors import UserError
from facekp.core.signals import Stopped
from facekp.data.datamodule import FaceData
from facekp.data.synthetic.faces import draw_faces
from facekp.functional.losses import LOSSES
from facekp.models.keypoint_model import KeypointModel
from facekp.networks.base import NETWORKS, HeatmapNetwork
from facekp.runs.folder import RunFolder
from facekp.training.estimator import KeypointEstimator
from facekp.training.setup import train
from tests.conftest import TINY, settings_of

FEW_STEPS = [*TINY, "data.rows=80", "augment=none", "optimizer=sgd", "lr=0.05", "trainer.max_epochs=2"]


class FrozenBatchNorm(pl.Callback):
    """Batch normalisation in evaluation mode: statistics of a batch would depend on its size."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def trained_weights(folder, *overrides):
    train(settings_of(*FEW_STEPS, *overrides), folder, callbacks=[FrozenBatchNorm()])
    return torch.load(RunFolder(folder).last_checkpoint, weights_only=True)


def largest_difference(first, second):
    return max((first["state_dict"][key] - second["state_dict"][key]).abs().max().item() for key in first["state_dict"])


@pytest.mark.parametrize("with_teacher", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_accumulated_batches_of_16_equal_one_of_32(tmp_path, tiny_run, with_teacher):
    teacher = ["teacher=self", f"teacher.ckpt={RunFolder(tiny_run).best_checkpoint}", "teacher.unlabelled=false"]
    more = [*teacher, "teacher.seen=true", "teacher.drop=12"] if with_teacher else []
    whole = trained_weights(tmp_path / "whole", "data.batch_size=32", *more)
    halves = trained_weights(tmp_path / "halves", "data.batch_size=16", "trainer.accumulate_grad_batches=2", *more)
    small = trained_weights(tmp_path / "small", "data.batch_size=16", *more)
    assert whole["global_step"] == halves["global_step"] == 4
    assert largest_difference(whole, halves) < 1e-5
    assert largest_difference(whole, small) > 1e-3


def test_the_validation_loss_counts_each_labelled_map_once_however_rows_are_batched(monkeypatch):
    settings = settings_of(*TINY)
    model = KeypointModel(settings.keypoints, (96, 96), settings.model, settings.loss.activation, settings.decoder)
    estimator = KeypointEstimator(model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})
    estimator.trainer = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda value, reduce_op: value))
    logged = {}
    monkeypatch.setattr(estimator, "log_dict", logged.update)
    images, points = 255 * torch.rand(4, 1, 96, 96), 95 * torch.rand(4, 15, 2)
    points[1:, 4:] = torch.nan  # 15 labelled maps in the first row, 4 in each of the others
    estimator.eval()

    def loss(*cuts):
        estimator.on_validation_epoch_start()
        for rows in torch.arange(4).tensor_split(cuts):
            source = torch.zeros(len(rows), dtype=torch.long)
            estimator.validation_step({"image": images[rows], "points": points[rows], "source": source}, 0)
        estimator.on_validation_epoch_end()
        return logged["val/loss"].item()

    with torch.no_grad():
        model.network.heads[0].weight.normal_()  # losses of different rows differ
        assert loss(1) == pytest.approx(loss(), rel=1e-5)


def test_a_training_that_diverges_is_reported_and_not_finished(tmp_path):
    with pytest.raises(UserError, match=r"training diverged.*lower lr"):
        train(settings_of(*TINY, "loss=mse", "optimizer=sgd", "lr=1e30"), tmp_path / "run")
    assert not RunFolder(tmp_path / "run").is_finished()


@pytest.mark.parametrize("kind", [list, iter], ids=["list", "iterator"])
def test_parameters_of_a_group_have_their_factor_on_the_learning_rate(monkeypatch, kind):
    settings = settings_of(*TINY, "lr=0.1")
    model = KeypointModel(settings.keypoints, (96, 96), settings.model, settings.loss.activation, settings.decoder)
    stem = list(model.network.stem.parameters())
    monkeypatch.setattr(model.network, "parameter_groups", lambda: [(kind(stem), 0.25)])
    estimator = KeypointEstimator(model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})
    estimator.trainer = SimpleNamespace(estimated_stepping_batches=10, gradient_clip_val=None)
    others, of_stem = estimator.configure_optimizers()["optimizer"].param_groups
    assert (others["lr"], of_stem["lr"]) == pytest.approx((0.1, 0.025))
    assert list(map(id, of_stem["params"])) == list(map(id, stem))
    both = {id(parameter) for group in (others, of_stem) for parameter in group["params"]}
    assert both == {id(parameter) for parameter in model.parameters()}
    assert len(others["params"]) + len(stem) == len(both)


class Spoils(pl.Callback):
    """Makes a part of the training not finite at the end of the first epoch."""

    def __init__(self, spoil):
        self.spoil = spoil

    def on_train_epoch_end(self, trainer, pl_module):
        self.spoil(trainer, pl_module.model)


def spoil_optimizer(trainer, model):
    for state in trainer.optimizers[0].state.values():
        state["exp_avg_sq"].fill_(torch.inf)  # the weights stay as they are from now on


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (spoil_optimizer, r"optimizer_states\.0\.state\.0\.exp_avg_sq is not finite"),
        (lambda trainer, model: model.mean_face.fill_(torch.nan), "the weights mean_face are not finite"),
        (lambda trainer, model: next(model.parameters()).data.fill_(torch.inf), "the weights network.* are not finite"),
    ],
)
def test_nothing_is_saved_that_is_not_finite(tmp_path, spoil, named):
    settings = settings_of(*TINY, "trainer.check_val_every_n_epoch=2")  # the first epoch is not validated
    with pytest.raises(UserError, match=rf"^training diverged: {named} in epoch 1; lower lr="):
        train(settings, tmp_path / "run", callbacks=[Spoils(spoil)])
    run = RunFolder(tmp_path / "run")
    assert not run.best_checkpoint.exists()
    assert not run.last_checkpoint.exists()


@pytest.mark.parametrize(("clip", "fused"), [(None, None), (0.5, False)])
def test_gradients_are_not_clipped_for_fused_kernels_which_lightning_refuses(tmp_path, clip, fused, monkeypatch):
    class Reached(Exception):
        pass

    def built(parameters, lr, settings):
        raise Reached(settings.fused)

    class Swap(pl.Callback):
        def setup(self, trainer, pl_module, stage):
            monkeypatch.setattr("facekp.training.estimator.build_optimizer", built)

    limit = [] if clip is None else [f"trainer.gradient_clip_val={clip}"]
    with pytest.raises(Reached) as reached:
        train(settings_of(*TINY, *limit), tmp_path / "run", callbacks=[Swap()])
    assert reached.value.args == (fused,)


def test_weights_are_channels_last_where_the_settings_say_so(tmp_path):
    seen = {}

    class Look(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            weight = next(w for w in pl_module.model.network.parameters() if w.ndim == 4 and min(w.shape) > 1)
            seen[chosen] = weight.is_contiguous(memory_format=torch.channels_last)
            raise KeyboardInterrupt

    for chosen in ("true", "false"):
        settings = settings_of(*TINY, "trainer.fast_cpu=false", f"trainer.channels_last={chosen}")
        with pytest.raises(Stopped):
            train(settings, tmp_path / chosen, callbacks=[Look()])
    assert seen == {"true": True, "false": False}


class LossOfEachBatch(pl.Callback):
    """Collects the losses of an epoch, and may end the training in the middle of it."""

    def __init__(self, stop_after=None):
        self.losses, self.logged, self.stop_after = [], None, stop_after

    def on_train_epoch_start(self, trainer, pl_module):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())
        trainer.should_stop = trainer.should_stop or len(self.losses) == self.stop_after

    def on_train_epoch_end(self, trainer, pl_module):
        self.logged = trainer.callback_metrics["train/loss"].item()


@pytest.mark.parametrize(
    ("stop_after", "min_epochs", "batches"),
    [(None, "null", 4), (3, "null", 3), (3, 2, 4)],
    ids=["whole", "cut", "kept"],
)
def test_the_training_loss_is_the_mean_over_the_epoch_even_of_one_that_is_cut_short(
    tmp_path, stop_after, min_epochs, batches
):
    callback = LossOfEachBatch(stop_after)
    train(
        settings_of(*FEW_STEPS, "data.batch_size=16", f"trainer.min_epochs={min_epochs}"),
        tmp_path,
        callbacks=[callback],
    )
    assert len(callback.losses) == batches
    assert callback.logged == pytest.approx(sum(callback.losses) / batches, rel=1e-6)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_resumed_optimizer_is_that_of_this_machine_not_of_the_one_that_saved_it(monkeypatch, recorded):
    monkeypatch.setattr("facekp.training.estimator.upgrade_names", lambda checkpoint: None)
    settings = settings_of(*TINY)
    model = KeypointModel(settings.keypoints, (96, 96), settings.model, settings.loss.activation, settings.decoder)
    estimator = KeypointEstimator(model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})
    estimator.cuda_graph = recorded
    for saved in ({"lr": 0.1, "capturable": not recorded}, {"lr": 0.1}):  # the second one of an earlier version
        estimator.on_load_checkpoint({"optimizer_states": [{"state": {}, "param_groups": [saved]}]})
        assert saved == {"lr": 0.1, "capturable": recorded}


def test_an_epoch_whose_last_batch_is_empty_has_a_training_loss(tmp_path):
    accumulated = ["data.rows=5", "data.batch_size=4", "trainer.accumulate_grad_batches=8"]
    callback = LossOfEachBatch()
    train(settings_of(*FEW_STEPS, *accumulated), tmp_path, callbacks=[callback])
    assert 0 < callback.logged < float("inf")


@pytest.mark.parametrize("loss", ["squared", "euclidean", "wing", "cross_entropy", "mse"])
def test_the_loss_is_computed_in_float32_in_mixed_precision(loss):
    settings = settings_of(*TINY, f"loss={loss}")
    model = KeypointModel(settings.keypoints, (96, 96), settings.model, settings.loss.activation, settings.decoder)
    estimator = KeypointEstimator(model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})
    labels = 95 * torch.rand(
        2, model.labels_by_channel(torch.zeros(2, 15, 2), torch.zeros(2, dtype=torch.long)).shape[1], 2
    )
    raw = [torch.randn(*model.target(labels)[0].shape)]
    expected, _ = estimator._loss(raw, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = estimator._loss(raw, labels)
    assert found.item() == expected.item()


class ReturnsTensor(HeatmapNetwork):
    stride = 4

    def __init__(self, heatmaps: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, heatmaps, 4, 4)

    def forward(self, images):
        return self.body(images)


def test_a_plug_in_network_with_a_wrong_output_is_refused_before_the_training(monkeypatch):
    monkeypatch.setattr(NETWORKS, "own_settings", dict(NETWORKS.own_settings))
    monkeypatch.setitem(NETWORKS.entries, "tensor", ReturnsTensor)
    settings = settings_of(*TINY)
    network = settings.model.replaced(network={"name": "tensor"})
    model = KeypointModel(settings.keypoints, (96, 96), network, settings.loss.activation, settings.decoder)
    with pytest.raises(
        UserError, match=r"^network tensor: returned Tensor, not a list; for 2 images of 96 x 96 pixels"
    ):
        KeypointEstimator(model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})


def test_a_training_refuses_a_loss_that_would_be_broadcast(monkeypatch):
    monkeypatch.setattr(LOSSES, "own_settings", dict(LOSSES.own_settings))
    monkeypatch.setitem(LOSSES.entries, "scalar", lambda raw, target, cells: (raw - target).square().mean())
    settings, loss = settings_of(*TINY), LOSSES.parse({"name": "scalar"})
    model = KeypointModel(settings.keypoints, (96, 96), settings.model, loss.activation, settings.decoder)
    estimator = KeypointEstimator(model, loss, 0.1, settings.optimizer, settings.scheduler, 1, None, None, {})
    batch = {"image": torch.rand(2, 1, 96, 96), "points": 95 * torch.rand(2, 15, 2), "source": torch.tensor([0, 1])}
    with pytest.raises(UserError, match=r"^loss=scalar: returned a tensor of shape \(\)"):
        estimator.mean_losses(batch)


def of_a_caller(scheme, **changes):
    """An estimator and its data, as a caller makes them, without a Trainer."""
    settings = settings_of(*TINY, *changes.pop("overrides", ()))
    table = draw_faces(20, 1, scheme)
    data = FaceData(table, np.arange(20) % 5, 0, "full", 8, settings.augment, seed=0)
    model = KeypointModel(scheme, table.size, settings.model, settings.loss.activation, settings.decoder)
    before = np.zeros(0, np.int64)
    make = (model, settings.loss, 0.1, settings.optimizer, settings.scheduler, 1, before, None, {})
    return KeypointEstimator(*make), data


def trainer_of_a_caller(**options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(accelerator="cpu", limit_val_batches=0, **{**quiet, **options})


@pytest.mark.parametrize("options", [{"max_steps": 1}, {"max_time": {"milliseconds": 50}}])
def test_a_caller_s_trainer_may_stop_within_an_epoch(scheme, options):
    trainer = trainer_of_a_caller(**options)
    trainer.fit(*of_a_caller(scheme))
    assert trainer.callback_metrics["train/loss"] > 0
    assert trainer.global_step == options.get("max_steps", trainer.global_step) > 0


def test_a_caller_s_trainer_may_log_nothing(scheme):
    trainer = pl.Trainer(accelerator="cpu", barebones=True, max_epochs=1, limit_val_batches=0)
    trainer.fit(*of_a_caller(scheme))
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        (
            [],
            {"precision": "bf16-true"},
            r"^Trainer\(precision='bf16-true'\): weights stay in float32; use 32-true or ",
        ),
        (["scheduler=cosine"], {"max_epochs": -1}, r"^scheduler=cosine: spans the whole training, whose length is unk"),
    ],
)
def test_what_a_caller_s_trainer_can_t_do_here_is_one_line(scheme, overrides, options, message):
    with pytest.raises(UserError, match=message):
        trainer_of_a_caller(**options).fit(*of_a_caller(scheme, overrides=overrides))


def test_batches_of_a_caller_train_where_no_checkpoint_states_their_images(scheme, tmp_path):
    estimator, _ = of_a_caller(scheme)
    batch = {"image": torch.rand(2, 1, 96, 96), "points": 95 * torch.rand(2, 15, 2), "source": torch.tensor([0, 1])}
    loader = DataLoader([batch], batch_size=None)
    trainer_of_a_caller(max_epochs=1).fit(estimator, loader)
    saves = trainer_of_a_caller(enable_checkpointing=True, max_epochs=1, default_root_dir=tmp_path)
    with pytest.raises(UserError, match=r"^a checkpoint states its training images, .* set Trainer\(enable_checkpoin"):
        saves.fit(estimator, loader)
    assert saves.global_step == 0


def test_an_estimator_and_its_data_can_be_sent_to_another_process(scheme):
    estimator, data = pickle.loads(pickle.dumps(of_a_caller(scheme)))
    assert estimator.optimizer_settings == of_a_caller(scheme)[0].optimizer_settings
    assert len(data.train_rows) == 16
