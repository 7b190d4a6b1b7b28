"""Options of Lightning's Trainer: each works in a tiny training, or is refused in one line."""

import math
import os
import signal
import socket

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from facekp.core.errors import UserError
from facekp.core.signals import Stopped, stop_at_signals
from facekp.models.checkpoint import load_checkpoint
from facekp.runs.folder import RunFolder
from facekp.training.estimator import KeypointEstimator
from facekp.training.setup import train
from facekp.training.trainer import build_trainer
from tests.conftest import TINY, settings_of


def run(folder, *overrides):
    return train(settings_of(*TINY, *overrides), folder), RunFolder(folder)


def test_epochs_without_validation_have_a_row_and_a_last_checkpoint(tmp_path):
    metrics, folder = run(tmp_path / "run", "+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    curves = folder.read_curves()
    assert curves["epoch"].tolist() == [1, 2, 3]
    assert curves["train/loss"].notna().all()
    assert curves["val/rmse"].notna().tolist() == [False, True, False]
    best, last = (
        torch.load(path, weights_only=True)["epoch"] for path in (folder.best_checkpoint, folder.last_checkpoint)
    )
    assert (best, last) == (1, 2)
    assert metrics["rmse"] == pytest.approx(curves["val/rmse"][1], rel=1e-4)


def test_more_epochs_between_validations_than_epochs_are_refused():
    with pytest.raises(UserError, match=r"trainer\.check_val_every_n_epoch=3: no epoch would be validated"):
        settings_of(*TINY, "trainer.check_val_every_n_epoch=3")


def test_fast_dev_run_trains_and_validates_one_batch(tmp_path):
    metrics, folder = run(tmp_path / "run", "trainer.fast_dev_run=true", "trainer.max_epochs=5", "data.batch_size=8")
    assert metrics["steps"] == 1
    assert math.isfinite(metrics["rmse"])
    assert len(folder.read_curves()) == 1


def test_limits_shorten_an_epoch(tmp_path):
    metrics, folder = run(
        tmp_path / "run", "data.batch_size=8", "trainer.limit_train_batches=0.5", "trainer.limit_val_batches=1"
    )
    assert metrics["steps"] == 2 * 3  # 48 rows: 6 batches, of which half
    assert folder.read_curves()["val/rmse"].notna().all()


def test_a_fraction_that_ends_within_a_step_is_refused_before_anything_is_written(tmp_path):
    given = ["data.batch_size=8", "trainer.accumulate_grad_batches=2", "trainer.limit_train_batches=0.5"]
    with pytest.raises(UserError, match=r"limit_train_batches=0\.5: .*1 of its .*choose 2 or 4$"):
        run(tmp_path / "run", *given)  # 3 of the 6 batches
    assert not (tmp_path / "run").exists()


def test_accumulated_batches_are_one_step(tmp_path):
    metrics, _ = run(tmp_path / "run", "data.batch_size=8", "+trainer.accumulate_grad_batches=4")
    assert metrics["steps"] == 2 * 1  # 48 rows: a step of 4 batches per epoch, and too few rows for a second one


def test_bfloat16_trains_on_the_cpu_and_keeps_float32_weights(tmp_path):
    metrics, folder = run(tmp_path / "run", "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    assert math.isfinite(metrics["rmse"])
    weights = load_checkpoint(folder.best_checkpoint).model.state_dict()
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-mixed"])
def test_precisions_that_do_not_work_here_are_refused(precision):
    with pytest.raises(UserError, match=rf"trainer\.precision={precision}.*(32-true)?"):
        settings_of(*TINY, f"trainer.precision={precision}")


@pytest.mark.slow
def test_a_compiled_network_trains_alike_and_its_checkpoint_names_the_same_tensors(tmp_path, monkeypatch):
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, mode: real(function, backend="aot_eager"))  # no C++
    small = ["trainer.max_epochs=1", "trainer.fast_cpu=false", "augment=none"]
    compiled, compiled_run = run(tmp_path / "compiled", "trainer.compile=true", "callbacks.ema=0.5", *small)
    plain, plain_run = run(tmp_path / "plain", "callbacks.ema=0.5", *small)
    assert compiled["rmse"] == pytest.approx(plain["rmse"], rel=0.05)
    names = [
        list(torch.load(folder.last_checkpoint, weights_only=True)["state_dict"])
        for folder in (compiled_run, plain_run)
    ]
    assert names[0] == names[1]


def test_clipped_gradients_move_the_weights_no_further_than_allowed(tmp_path):
    def weights(name, *more):
        _, folder = run(tmp_path / name, "trainer.max_epochs=1", "optimizer=sgd", "optimizer.momentum=0", *more)
        return torch.load(folder.last_checkpoint, weights_only=True)["state_dict"]

    start, free = weights("start", "lr=1e-12"), weights("free", "lr=0.1")
    by_norm = weights("norm", "lr=0.1", "trainer.gradient_clip_val=1e-3")
    by_value = weights("value", "lr=0.1", "trainer.gradient_clip_val=1e-5", "trainer.gradient_clip_algorithm=value")
    names = [key for key in start if key.endswith("weight")]

    def distance(end):
        return sum((end[key] - start[key]).square().sum() for key in names).sqrt().item()

    assert distance(by_norm) < 1e-4 * 1.01 < distance(free)
    assert max((by_value[key] - start[key]).abs().max().item() for key in names) < 1e-6 * 1.2


def test_deterministic_algorithms_and_a_profile(tmp_path, capsys):
    run(tmp_path / "run", "trainer.deterministic=true", "trainer.profiler=simple", "trainer.max_epochs=1")
    torch.use_deterministic_algorithms(False)


def test_early_stopping_waits_for_the_least_number_of_epochs(tmp_path):
    stops = ["lr=1e-12", "callbacks.patience=1", "trainer.max_epochs=6"]
    early, _ = run(tmp_path / "early", *stops)
    later, _ = run(tmp_path / "later", *stops, "trainer.min_epochs=5")
    assert early["epochs"] < later["epochs"] == 5


class Broken(Callback):
    """Fails in the first step, in its own code or in torch's that it calls."""

    def __init__(self, fail):
        self.fail = fail

    def on_train_batch_start(self, *_):
        self.fail()


@pytest.mark.parametrize(
    ("fail", "error"),
    [(lambda: len(3), TypeError), (lambda: torch.optim.SGD([torch.zeros(1)], lr=-1), ValueError)],
    ids=["its own", "torch's"],
)
def test_an_error_of_other_code_is_no_complaint_of_the_trainer(tmp_path, fail, error):
    with pytest.raises(error) as raised:
        train(settings_of(*TINY), tmp_path / "run", callbacks=[Broken(fail)])
    assert not isinstance(raised.value, UserError)


def test_a_training_that_a_callback_stops_before_its_first_validation_says_so(tmp_path):
    with pytest.raises(UserError, match="run: the training was stopped before its first epoch was validated"):
        run(
            tmp_path / "run",
            "+callbacks.timer._target_=pytorch_lightning.callbacks.Timer",
            "+callbacks.timer.duration='00:00:00:00'",
        )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["+callbacks.mine._target_=pytorch_lightning.callbacks.BackboneFinetuning"],
            "callbacks: BackboneFinetuning: AttributeError: .* no attribute 'backbone'",
        ),
        (
            [
                "+callbacks.mine._target_=pytorch_lightning.callbacks.ModelPruning",
                "+callbacks.mine.pruning_fn=l1_unstructured",
                "+callbacks.mine.amount=0.5",
            ],
            "callbacks: ModelPruning: RuntimeError: .*",
        ),
    ],
    ids=["finetuning", "pruning"],
)
def test_callbacks_of_lightning_that_do_not_work_here_are_one_line(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path / "run", *overrides)
    assert "\n" not in str(error.value)


class Failing(torch.optim.SGD):
    """Fails in its first step, whose closure computes the loss."""

    def step(self, closure=None):
        super().step(closure)
        raise RuntimeError("no step\nhere")


def test_an_optimiser_that_fails_is_one_line_and_a_network_that_fails_in_its_closure_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(KeypointEstimator, "new_optimizer", lambda self: Failing(self.parameters(), lr=1e-3))
    with pytest.raises(UserError, match="optimizer: Failing: RuntimeError: no step here"):
        run(tmp_path / "run")
    monkeypatch.setattr(KeypointEstimator, "training_step", lambda self, *_: torch.zeros(2).view(3))
    with pytest.raises(RuntimeError, match="shape"):
        run(tmp_path / "other")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.accelerator=abacus"], "trainer: .*abacus"),
        (["trainer=multi_node"], r"trainer\.num_nodes=2: start .* torchrun --nnodes=2, or with srun --nodes=2"),
    ],
)
def test_what_lightning_can_t_do_here_is_one_line(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message) as error:
        run(tmp_path / "run", *overrides)
    assert "\n" not in str(error.value)
    assert not RunFolder(tmp_path / "run").has_begun()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.strategy=fsdp"], r"trainer\.strategy=fsdp: shards the weights.*use ddp"),
        (["trainer.strategy=deepspeed_stage_2"], r"trainer\.strategy=deepspeed_stage_2: shards.*use ddp"),
        (["trainer.strategy=model_parallel"], r"trainer\.strategy=model_parallel: shards.*use ddp"),
        (["trainer.strategy=ddp_spawn"], r"trainer\.strategy=ddp_spawn: choose one of auto, ddp, ddp_find_unused"),
        (["trainer.sync_batchnorm=true"], r"trainer\.sync_batchnorm=true: needs GPUs"),
    ],
)
def test_strategies_and_options_that_do_not_work_here_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        settings_of(*TINY, *overrides)


def test_several_machines_are_one_process_group_of_one_process_each_on_the_cpu():
    trainer = settings_of(*TINY, "trainer=multi_node").trainer
    assert (trainer.num_nodes, trainer.devices, trainer.strategy, trainer.is_distributed) == (2, "auto", "ddp", True)


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "WORLD_SIZE": "2", "RANK": "1",
    "LOCAL_RANK": "0", "GROUP_RANK": "1", "MASTER_ADDR": "127.0.0.1",
}  # fmt: skip


@pytest.fixture
def of_torchrun(monkeypatch, tmp_path):
    """Build a Trainer in an environment of torchrun, with a port that is open or not; returns its environment."""

    def build(*overrides, listening=True):
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        for key, value in {**TORCHRUN, "MASTER_PORT": str(server.getsockname()[1])}.items():
            monkeypatch.setenv(key, value)
        settings = settings_of(*TINY, "trainer=multi_node", "trainer.accelerator=cpu", *overrides).trainer
        trainer = build_trainer(settings, tmp_path, [], [])
        environment = trainer.strategy.cluster_environment
        try:
            environment.validate_settings(trainer.strategy.num_processes, trainer.num_nodes)
        finally:
            server.close()
        return trainer

    yield build
    rank_zero_only.rank = 0  # Lightning keeps the rank of the last Trainer


def test_torchrun_gives_the_ranks(of_torchrun):
    trainer = of_torchrun()
    assert isinstance(trainer.strategy.cluster_environment, TorchElasticEnvironment)
    assert (trainer.world_size, trainer.global_rank, trainer.node_rank) == (2, 1, 1)


def test_another_number_of_processes_than_torchrun_started_is_refused(of_torchrun):
    with pytest.raises(UserError, match=r"num_nodes=3 trainer\.devices=1: torchrun started 2 processes"):
        of_torchrun("trainer.num_nodes=3")


def test_a_first_machine_that_has_ended_is_not_waited_for(of_torchrun):
    with pytest.raises(UserError, match=r"MASTER_ADDR=127\.0\.0\.1 MASTER_PORT=\d+: can't be reached .*has ended"):
        of_torchrun(listening=False)


def test_srun_gives_the_ranks_and_its_missing_option_is_one_line(tmp_path, monkeypatch):
    of_srun = {**SLURM, "SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_PROCID": "1", "SLURM_NODEID": "1"}
    for key, value in of_srun.items():
        monkeypatch.setenv(key, value)
    settings = settings_of(*TINY, "trainer=multi_node", "trainer.accelerator=cpu").trainer
    with pytest.raises(UserError, match=r"trainer: .*--ntasks-per-node=2"):
        build_trainer(settings, tmp_path, [], [])
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "1")
    trainer = build_trainer(settings, tmp_path, [], [])
    assert isinstance(trainer.strategy.cluster_environment, SLURMEnvironment)
    assert (trainer.world_size, trainer.global_rank, trainer.node_rank) == (2, 1, 1)
    rank_zero_only.rank = 0  # Lightning keeps the rank of the last Trainer


def test_a_rank_silences_no_logger_of_a_training_that_is_not_distributed(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # Lightning takes it from the environment when it is imported
    settings = settings_of(*TINY).trainer
    build_trainer(settings, tmp_path, [], [])
    assert (rank_zero_only.rank, settings.is_child_process) == (0, False)
    assert settings_of(*TINY, "trainer=ddp").trainer.is_child_process


def test_no_gpu_is_one_line(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"^trainer.accelerator=gpu: no GPU is available here; use trainer=cpu"):
        run(tmp_path / "run", "trainer=gpu")


SLURM = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_of_slurm_ends_the_training_with_a_checkpoint_and_requeues_nothing(tmp_path, monkeypatch, number):
    class Sender(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if trainer.current_epoch == 1:
                os.kill(os.getpid(), number)

    for key, value in {**SLURM, "SLURM_NODEID": "0"}.items():
        monkeypatch.setenv(key, value)
    settings, run = settings_of(*TINY, "trainer.max_epochs=9", "data.batch_size=64"), RunFolder(tmp_path / "run")
    with pytest.raises(Stopped) as stop, stop_at_signals():
        train(settings, run.path, callbacks=[Sender()])
    assert stop.value.code == 143
    assert torch.load(run.last_checkpoint, weights_only=True)["epoch"] == 1  # the signal came in its only batch
    assert not [*run.path.glob("hpc_ckpt*")]
    assert signal.getsignal(number) is signal.SIG_DFL
