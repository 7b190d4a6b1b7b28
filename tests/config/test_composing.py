"""A command composes its config once, and gets the one that Hydra composes."""

import pytest
from hydra import main
from hydra._internal import hydra as hydra_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from facekp.config.composing import SingleCompositionLoader

FILES = {
    "primary": "defaults: [_self_, model: small]\nlr: 1\nfound: ${hydra:mode}\n",
    "model/small": "width: 8\n",
    "model/swept": "# @package _global_\nhydra:\n  mode: MULTIRUN\n",
    "model/subset": "# @package _global_\nsubset: {a: x}\n",
    "model/needy": "defaults: [part: ???]\n",
}
SILENT = ["hydra/job_logging=none", "hydra/hydra_logging=none"]  # other tests see what is logged


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run Hydra with a loader; the fixture returns the jobs' configs, the error, and how often Hydra composed."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    compose = ConfigLoaderImpl._load_configuration_impl

    def start(loader, *arguments):
        composed, configs, errors = [], [], []

        def count(self, *args, **options):
            composed.append(args)
            return compose(self, *args, **options)

        def task(cfg):
            whole = HydraConfig.instance().cfg
            configs.append([OmegaConf.to_container(one, resolve=False) for one in (cfg, whole)])

        with monkeypatch.context() as patch:
            patch.setenv("HYDRA_FULL_ERROR", "1")
            patch.setattr(ConfigLoaderImpl, "_load_configuration_impl", count)
            patch.setattr(hydra_module, "ConfigLoaderImpl", loader)
            folders = [f"hydra.{kind}.dir={tmp_path / 'out'}" for kind in ("run", "sweep")]
            patch.setattr("sys.argv", ["program", *arguments, *folders, *SILENT])
            try:
                main(version_base="1.3", config_path=str(tmp_path), config_name="primary")(task)()
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
        return configs, errors, len(composed)

    return start


@pytest.mark.parametrize(
    ("arguments", "jobs", "once"),
    [
        (["lr=7", "hydra.job.name=mine"], 1, True),
        (["lr=7", "hydra.mode=RUN"], 1, True),
        (["nokey=1"], 0, True),
        (["model=needy"], 0, True),
        (["lr=[1,"], 0, True),
        (["lr=1,2"], 0, False),
        (["-m", "lr=7"], 1, False),
        (["-m", "lr=1,2"], 2, False),
        (["lr=1,2", "hydra.mode=MULTIRUN"], 2, False),
        (["model=swept"], 1, False),
    ],
    ids=str,
)
def test_configs_and_errors_are_hydra_s_and_all_but_sweeps_compose_once(run, arguments, jobs, once):
    configs, errors, compositions = run(ConfigLoaderImpl, *arguments)
    assert len(configs) == jobs
    assert run(SingleCompositionLoader, *arguments) == (configs, errors, 1 if once else compositions)


@pytest.mark.parametrize("sweep", [[], ["-m"]])
@pytest.mark.parametrize(
    ("argument", "subset"),
    [("subset={b: y}", {"b": "y"}), ("++subset={b: y}", {"b": "y"}), ("subset.a=z", {"a": "z"}), ("lr=2", {"a": "x"})],
)
def test_a_subset_of_the_command_line_replaces_that_of_a_file(run, argument, subset, sweep):
    (configs,), errors, _ = run(SingleCompositionLoader, *sweep, "model=subset", argument)
    assert not errors
    assert configs[0]["subset"] == subset
