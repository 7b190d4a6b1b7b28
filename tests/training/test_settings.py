"""Settings of a training: wrong values, unknown keys and contradictions are refused in one line."""

import pytest
import torch

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.networks.base import NETWORKS, build_network
from facekp.training.settings import TrainSettings
from tests.conftest import CONF_DIR, config_of, settings_of

WRONG = {
    "seed": [-1, 1.5, "a", True, 2**32],
    "lr": [0, -1, "fast", float("nan"), None],
    "subset": ["half", None],
    "init_from": [5, ["A"]],
    "debug": ["abc"],
    "data.fold": [1.0, -1, "x"],
    "data.folds": [1, "x"],
    "data.rows": [0, "many"],
    "data.batch_size": [0, 1.5, True],
    "data.offsets": [{"sparse": "x"}, 1],
    "augment.flip": [2, -0.1, "x"],
    "augment.scale": [1, 5],
    "augment.stretch": [1, 1.5],
    "augment.contrast": [1.5, -0.1],
    "augment.blur": [2],
    "augment.elastic": [6],
    "augment.erase": [20],
    "augment.rotate": [-1, None],
    "model.sigma": [0, "abc", None],
    "model.normalise.std": [0, "abc"],
    "model.network.stride": [3, 2.0, True, "2", None, [2]],
    "model.network.channels": [7, 10, 8.0],
    "optimizer.weight_decay": [-1, "x"],
    "loss.activation": ["relu", None],
    "decoder.rule": ["median", None],
    "decoder.flip": ["abc", 1, None],
    "decoder.scale": [0.6, -0.1],
    "teacher.ckpt": [5, True, [5], [], {"a": 1}],
    "teacher.weight": [-1],
    "teacher.drop": [0, "x"],
    "trainer.devices": [0, -2, 1.5, "two"],
    "trainer.num_nodes": [0],
    "trainer.precision": [17, "64-true", "bf16-true", "16"],
    "trainer.max_epochs": [0, -1, 1.5, None],
    "trainer.min_epochs": [0],
    "trainer.accumulate_grad_batches": [0, 1.5],
    "trainer.check_val_every_n_epoch": [0, None],
    "trainer.limit_train_batches": [0, 0.0, 1.5, -1],
    "trainer.limit_val_batches": [0, 0.0, 1.5, -1],
    "trainer.fast_dev_run": [0, -1, "yes"],
    "trainer.gradient_clip_val": [0, -1],
    "trainer.gradient_clip_algorithm": ["mean", None],
    "trainer.deterministic": ["never"],
    "trainer.profiler": ["fast"],
    "trainer.log_every_n_steps": [0],
    "trainer.compile": ["yes", 1, "fast"],
    "trainer.channels_last": [1, None],
    "optimizer.fused": ["yes", 1],
    "callbacks.pictures": [-1, 1.5, "abc"],
    "callbacks.ema": [2, "x"],
    "callbacks.patience": [0],
    "callbacks.save_every": [0, None],
    "logger.tags": ["a", [1]],
    "metrics.normaliser": ["pupil", 3],
    "metrics.resamples": [-1],
}


def with_value(key, value):
    config = config_of("data=synthetic")
    del config["sweep"], config["hparams_search"], config["overwrite"], config["rerun"]
    *path, name = key.split(".")
    group = config
    for part in path:
        group = group[part]
    group[name] = value
    return config


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_with_its_key(key, value):
    with pytest.raises(UserError) as error:
        parse(TrainSettings, with_value(key, value))
    message = str(error.value)
    assert message.startswith(key)
    assert "\n" not in message


UNKNOWN = {  # key, and the right one
    "learning_rate": "lr",
    "data.batchsize": "batch_size",
    "callbacks.patiance": "patience",
    "trainer.accumulate_grad_batch": "accumulate_grad_batches",
    "trainer.max_epoch": "max_epochs",
    "trainer.max_steps": "max_epochs",
    "trainer.limit_test_batches": "limit_train_batches",
    "optimizer.momentun": "betas",
    "teacher.wieght": "weight",
    "augment.rotation": "rotate",
}


@pytest.mark.parametrize("key", UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest_one(key):
    with pytest.raises(UserError, match=rf"^{key}: unknown key.*{UNKNOWN[key]}"):
        parse(TrainSettings, with_value(key, 1))


@pytest.mark.parametrize("group", ["data", "loss", "augment", "trainer", "callbacks", "teacher", "optimizer", "model"])
def test_a_null_group_is_refused_in_one_line(group):
    with pytest.raises(UserError, match=rf"^{group}.*must be a group of settings"):
        parse(TrainSettings, with_value(group, None))


CONTRADICTIONS = {
    "fold beside a subset": (["data.fold=3", "data.held_out={source: dense}"], "so fold=3 has no effect; remove one"),
    "yes of YAML in a subset": (["subset={occluded: true}"], r"^subset\.occluded=true: write the value as the label "),
    "fold": (["data.folds=3", "data.fold=3"], r"data\.fold=3: with data\.folds=3 it must be one of 0 to 2"),
    "processes": (["trainer=ddp", "data.batch_size=1"], r"data\.batch_size=1: .*number of processes, 2"),
    "machines": (["trainer.num_nodes=4", "data.batch_size=3"], r"data\.batch_size=3: .*number of processes, 4"),
    "gaps by drop": (["subset=complete", "teacher=self", "teacher.ckpt=a"], "subset=complete: .*teacher.unlabelled"),
    "subset of added rows": (
        ["subset={source: dense}", "teacher=self", "teacher.ckpt=a", "teacher.unlabelled=true"],
        "subset: chooses training rows by their attributes, but the rows that teacher.unlabelled=true adds have none",
    ),
    "activation": (["model=regression", "loss=mse"], r"loss\.activation.*activation softmax.*loss=cross_entropy"),
    "never validated": (["trainer.check_val_every_n_epoch=13"], r"check_val_every_n_epoch=13: .*max_epochs=12"),
    "half on the CPU": (["trainer.precision=16-mixed"], "needs a GPU; choose bf16-mixed"),
    "search with processes": (["lr=find", "trainer=ddp"], r"lr=find: .*trainer\.devices=1"),
    "colour of drawn faces": (["data.channels=3"], r"data\.channels=3: the images of data=synthetic are grey; use 1"),
    "colours in grey": (
        ["augment.transforms=[{name:kornia,transform:RandomPlanckianJitter}]"],
        "augment.transforms: kornia's RandomPlanckianJitter can't be used on grey images",
    ),
    "part of a step": (
        ["trainer.limit_train_batches=5", "trainer.accumulate_grad_batches=4"],
        r"limit_train_batches=5: .*1 of its trainer\.accumulate_grad_batches=4 batches.*choose 4 or 8",
    ),
    "less than a step": (
        ["trainer.limit_train_batches=3", "trainer.accumulate_grad_batches=4"],
        r"limit_train_batches=3: .*3 of its trainer\.accumulate_grad_batches=4 batches.*choose 4$",
    ),
    "search of one batch": (["lr=find", "trainer.fast_dev_run=true"], "lr=find: .*fast_dev_run"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_settings_of_two_groups_that_contradict_each_other_are_refused(case):
    overrides, message = CONTRADICTIONS[case]
    with pytest.raises(UserError, match=message):
        settings_of("data=synthetic", *overrides)


CHOICES = [
    f"{group}={path.stem}"
    for group in ("loss", "optimizer", "scheduler", "augment", "decoder", "logger", "callbacks", "keypoints", "trainer")
    for path in sorted((CONF_DIR / group).glob("*.yaml"))
    if (group, path.stem) != ("decoder", "own")
]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_shipped_choice_is_accepted(choice):
    settings_of("data=synthetic", choice)


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF_DIR / "model").glob("*.yaml")))
def test_every_shipped_model_is_accepted(model):
    settings_of("data=synthetic", f"model={model}", *(["loss=mse"] if model == "hourglass_seed" else []))


@pytest.mark.parametrize("data", sorted(path.stem for path in (CONF_DIR / "data").glob("*.yaml")))
def test_every_shipped_reader_is_accepted(data):
    files = [] if data in ("kaggle", "synthetic") else ["data.images=a", "data.labels=b"]
    settings_of(f"data={data}", *files)


def test_plain_values_are_what_was_composed_and_give_the_same_settings_again():
    config = config_of("data=synthetic", "teacher=self", "teacher.ckpt=[a,b]")
    del config["sweep"], config["hparams_search"], config["overwrite"], config["rerun"]
    settings = parse(TrainSettings, config)
    plain = settings.plain()
    for group in ("data", "model", "loss", "optimizer", "scheduler", "augment", "teacher", "decoder", "trainer"):
        assert plain[group] == config[group], group
    assert parse(TrainSettings, plain) == settings


def test_a_plus_before_an_option_of_the_trainer_works_as_it_did():
    assert settings_of("data=synthetic", "+trainer.accumulate_grad_batches=2").trainer.accumulate_grad_batches == 2


@pytest.mark.parametrize(
    ("overrides", "processes", "distributed"),
    [
        ([], 1, False),
        (["trainer=ddp"], 2, True),
        (["trainer.devices=[0,3]"], 2, True),
        (["trainer.devices=auto"], None, True),
        (["trainer.num_nodes=2"], 2, True),
        (["trainer.strategy=ddp"], 1, True),
    ],
)
def test_the_number_of_processes_is_devices_times_machines(overrides, processes, distributed):
    trainer = settings_of("data=synthetic", *overrides).trainer
    assert trainer.processes == processes
    assert trainer.is_distributed is distributed


def test_a_network_without_the_base_class_is_left_to_the_check_that_names_it(monkeypatch):
    monkeypatch.setitem(NETWORKS.entries, "plain", torch.nn.Identity)
    monkeypatch.setattr(NETWORKS, "own_settings", dict(NETWORKS.own_settings))
    settings = parse(TrainSettings, with_value("model.network", {"name": "plain"}))
    with pytest.raises(UserError, match=r"^network plain: Identity is not a HeatmapNetwork"):
        build_network(settings.model.network, heatmaps=5)
