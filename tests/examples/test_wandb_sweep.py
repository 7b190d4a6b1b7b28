"""The W&B sweep of `examples/`: an agent of the client starts our command with its values."""

import os
import queue

import pytest

from facekp.config.arguments import quoted
from facekp.training.loggers.wandb_client import MAIN_CURVE
from tests.conftest import REPOSITORY, settings_of


@pytest.fixture
def config():
    from wandb.sdk.launch.sweeps.utils import load_sweep_config  # takes seconds

    return load_sweep_config(str(REPOSITORY / "examples" / "wandb_sweep.yaml"))


@pytest.fixture
def command_of(config, monkeypatch, tmp_path):
    """The command that an agent starts for values that the server has drawn."""
    from wandb import wandb_agent

    started = []

    class Process:
        def __init__(self, command, **_):
            started.append(command)

    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    monkeypatch.setattr(os, "environ", {**os.environ, "WANDB_DIR": str(tmp_path)})  # which the agent changes
    agent = wandb_agent.Agent(api=None, queue=queue.Queue(), sweep_id="abcd1234")
    agent._sweep_command = config["command"]

    def run(**values):
        args = {key: {"value": value} for key, value in values.items()}
        agent._command_run({"run_id": "run1", "program": config["program"], "args": args})
        return started[-1]

    return run


@pytest.mark.parametrize("end", [0, -1])
def test_an_agent_s_command_is_a_training_with_the_drawn_values(config, command_of, end):
    drawn = {
        key: part["value"] if "value" in part else (part.get("values") or [part["min"], part["max"]])[end]
        for key, part in config["parameters"].items()
    }
    command = command_of(**drawn)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "facekp.train"]
    settings = settings_of(*quoted(command[4:]))
    assert (settings.lr, settings.optimizer.name) == (drawn["lr"], drawn["optimizer"])
    assert settings.model.sigma == drawn["model.sigma"]
    assert settings.logger.wandb
    assert settings.logger.project == config["project"]


def test_the_sweep_s_metric_is_what_each_epoch_logs(config):
    assert config["metric"] == {"name": MAIN_CURVE, "goal": "minimize"}
    assert config["early_terminate"]["min_iter"] < config["parameters"]["trainer.max_epochs"]["value"]
