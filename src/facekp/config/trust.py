"""What the files of a config folder may make Hydra and facekp call: nothing but what is listed here.

Hydra calls classes that the composed config names before facekp's own code runs: callbacks, the launcher, the sweeper,
handlers of logs. A file of ``--config-dir`` may set any key, so `CheckedConfigLoader` checks every config that Hydra
composes, also that of each job of a sweep, before anything is called. What a user types on the command line counts for
more than what a file says. docs/explanation/trust.md says what remains.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

import hydra._internal.hydra
import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from facekp.config.arguments import key_of
from facekp.config.choices import check_composed
from facekp.config.composing import SingleCompositionLoader
from facekp.config.location import CONF_DIR
from facekp.config.plugins import MODULES
from facekp.core.errors import UserError, first_line
from facekp.core.plain_files import DamagedFile, read_yaml, yaml_problem
from facekp.core.registry import installed_entry_points
from facekp.core.signals import stop_before_errors

TARGET = "_target_"
PLUGINS = "hydra_plugins.hydra_"
TARGETS = {  # what Hydra may call, by key
    "hydra.launcher._target_": {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        f"{PLUGINS}joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.facekp_joblib.FaultTolerantJoblibLauncher",  # which facekp puts in its place
        f"{PLUGINS}submitit_launcher.submitit_launcher.LocalLauncher",
        f"{PLUGINS}submitit_launcher.submitit_launcher.SlurmLauncher",
        "hydra_plugins.facekp_ray.RayLauncher",
    },
    "hydra.sweeper._target_": {
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.facekp_search.OptunaSweeper",
    },
    "hydra.callbacks.sweep._target_": {"facekp.runs.sweeps.sweep.Sweep"},
}
CALLED = ("hydra.callbacks", "hydra.launcher", "hydra.sweeper", "hydra.job_logging", "hydra.hydra_logging")
LOGGING = CALLED[3:]
LOG_CLASSES = ("logging.StreamHandler", "logging.FileHandler")
LOG_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
LOG_FILE = "${hydra.runtime.output_dir}/${hydra.job.name}.log"  # Hydra's; another path may be any file of the user

# Keys of launchers that say how much runs at a time and where; others may hold commands (setup, additional_parameters).
LAUNCHER_KEYS = {
    "n_jobs", "verbose", "timeout", "pre_dispatch", "batch_size",  # of joblib; the last line of Ray, others of submitit
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "partition", "qos",
    "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu", "mem_per_cpu",
    "account", "signal_delay_s", "max_num_timeout", "array_parallelism", "stderr_to_stdout",
    "ray.init.num_cpus", "ray.remote.num_cpus", "ray.remote.num_gpus", "ray.remote.memory",
}  # fmt: skip

# Callbacks and loggers that a file may name: Lightning's, which send nothing to other machines.
FILE_TARGETS = re.compile(
    r"pytorch_lightning\.callbacks\.[A-Za-z]\w*|pytorch_lightning\.loggers\.(CSVLogger|TensorBoardLogger)"
)
FOLDER_ARGUMENTS = ("dirpath", "save_dir", "root_dir", "dir")  # of these classes
NAME_ARGUMENTS = ("filename", "name", "version", "sub_dir")  # may hold no path
FIGURE = re.compile(r"\{\w+(/\w+)*(:[^{}/]*)?\}")  # {val/rmse:.2f} in a filename
ON_COMMAND_LINE = "give it on the command line, if you trust it"


class CheckedConfigLoader(SingleCompositionLoader):
    """Hydra's loader, which refuses configs that name what is not listed here."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = _CheckedRepository(config_search_path)

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        with stop_before_errors():  # Hydra goes on after an error where it composes to find its mode
            try:
                cfg = super().load_configuration(*args, **kwargs)
                check_composed(cfg)
                check_config(cfg)
            except (UserError, OmegaConfBaseException):
                raise
            except RecursionError as error:
                raise UserError(
                    f"{', '.join(_files_in_circle(error)) or 'the config'}: the defaults list leads back to the same "
                    "file; remove an entry of it"
                ) from error
            except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:  # of Hydra, on odd input
                raise UserError(
                    f"the config can't be composed: {type(error).__name__}: {first_line(error)}; check the last "
                    "argument or config file that you changed, or see debug=true"
                ) from error
        return cfg

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: Any, repo: Any) -> None:
        """Hydra imports the package of ``pkg://NAME`` in a primary config's search path."""
        primary = repo.load_config(config_path=config_name) if config_name is not None else None
        if primary is not None and OmegaConf.select(primary.config, "hydra.searchpath") is not None:
            raise UserError(
                f"{primary.path}/{config_name}.yaml: hydra.searchpath: a config file can't set it; {ON_COMMAND_LINE}"
            )
        values: Any = {} if primary is None else OmegaConf.to_container(primary.config)
        repo.delegate.keys = {key for key, value in values.items() if not isinstance(value, dict)}
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


def _files_in_circle(error: RecursionError) -> list[str]:
    """The config files whose defaults lists Hydra was reading last."""
    frames = [frame.f_locals for frame, _ in walk_tb(error.__traceback__) if "defaults_list" in frame.f_locals]
    return sorted({f"{values['path']}.yaml" for values in frames[-20:] if "path" in values})


class _CheckedRepository(ConfigRepository):
    """Hydra's reader of config files, with bounds on each file and errors in one line."""

    keys: Collection[str] = ()  # of the primary config that have a plain value

    def group_exists(self, config_path: str) -> bool:
        """Whether a name is a config group. The key ``out`` is not, even if ``--config-dir`` has a folder ``out``."""
        return config_path not in self.keys and super().group_exists(config_path)

    def load_config(self, config_path: str) -> Any:
        file = self._file(config_path)
        try:
            if file is not None:
                read_yaml(file)
                if re.match(BOM_UTF8 + rb"#\s*@", file.read_bytes()):
                    raise UserError(
                        f"{file}: begins with a byte order mark, which hides its first line from Hydra; save it as "
                        "UTF-8 without BOM"
                    )
            return super().load_config(config_path)
        except (HydraException, UserError):
            raise
        except DamagedFile as error:
            raise UserError(f"{file}: {error}") from error
        except (yaml.YAMLError, ValueError, TypeError, RecursionError, OSError) as error:
            raise UserError(f"{file or config_path}: {yaml_problem(error)}") from error

    def _file(self, config_path: str) -> Path | None:
        """The file that Hydra reads for a config; None where no file holds it."""
        source = self._find_object_source(config_path=config_path, object_type=ObjectType.CONFIG)
        if source is None or source.scheme() != "file":
            return None
        path = Path(source.path, config_path)
        return path if path.suffix == ".yaml" else path.with_name(f"{path.name}.yaml")


def use_checked_loader() -> None:
    """Let Hydra use `CheckedConfigLoader`, in this process and, as the loader is passed on, in a launcher's."""
    hydra._internal.hydra.ConfigLoaderImpl = CheckedConfigLoader  # type: ignore[misc]


def check_config(cfg: DictConfig) -> None:
    """Check a composed config with Hydra's part.

    Raises:
        UserError: it names what may not be called.
    """
    given = {key_of(text) for text in _overrides(cfg, "hydra")}
    for key, value in _leaves(OmegaConf.to_container(cfg.hydra, resolve=False), "hydra"):
        _check_target(cfg, key, value)
        _check_logging(key, value)
        if key.startswith("hydra.job.env_set.") and not _covers(given, key) and "hydra.job.env_copy" not in given:
            raise UserError(f"{key}: a config file can't set environment variables; {ON_COMMAND_LINE}")
    _check_launcher(cfg, given)
    _check_sweeper(cfg, given)
    _check_added_classes(cfg)
    _check_plugins(cfg)


def _check_target(cfg: DictConfig, key: str, value: Any) -> None:
    name = key.rpartition(".")[2]
    if name == TARGET and value not in TARGETS.get(key, ()):
        known = f"; choose one of {', '.join(sorted(TARGETS[key]))}" if key in TARGETS else ""
        raise UserError(
            f"{key}={value}: is not allowed: Hydra may call only known launchers, known sweepers and facekp's "
            f"callback{known}"
        )
    if key.startswith(CALLED) and _is_reference(value) and _stands_for_values(cfg, key):
        raise UserError(f"{key}={value}: must be a plain value; Hydra would call what it stands for")


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("${") and value.endswith("}")


def _stands_for_values(cfg: DictConfig, key: str) -> bool:
    """Whether a reference stands for a mapping or a list, or can't be resolved yet."""
    try:
        return OmegaConf.is_config(OmegaConf.select(cfg, key))
    except OmegaConfBaseException:
        return True


def _check_logging(key: str, value: Any) -> None:
    """Python's logging config can call anything: ``()``, ``class``, and texts that begin with ``ext://``."""
    if not key.startswith(LOGGING):
        return
    name, text = key.rpartition(".")[2], str(value)
    is_external = text.startswith(("ext://", "cfg://")) and text not in LOG_STREAMS
    is_called = name in ("()", "factory") or (name == "class" and value not in LOG_CLASSES)
    if is_external or is_called or (name == "filename" and value != LOG_FILE):
        raise UserError(f"{key}={value}: is not allowed; use hydra/job_logging=default, or none")


def _check_launcher(cfg: DictConfig, given: Collection[str]) -> None:
    """Refuse values of keys outside `LAUNCHER_KEYS` that are not the launcher's defaults, unless the user gave them."""
    usual = _by_key(_usual_launcher(str(cfg.hydra.runtime.choices.get("hydra/launcher"))))
    for key, values in _by_key(OmegaConf.to_container(cfg.hydra, resolve=False).get("launcher")).items():  # type: ignore[union-attr]
        if _covers(given, key) or key.endswith(TARGET):
            continue
        if any("\n" in str(value) for value in values):  # would be a line of a shell script
            raise UserError(f"{key}: holds a line break; give one line")
        if key.removeprefix("hydra.launcher.") not in LAUNCHER_KEYS and values != usual.get(key):
            raise UserError(f"{key}: a config file can't set it, as it may hold commands; {ON_COMMAND_LINE}")


def _by_key(launcher: Any) -> dict[str, list[Any]]:
    """The values of a launcher by key; all items of a list have one key."""
    values: dict[str, list[Any]] = {}
    for key, value in _leaves(launcher or {}, "hydra.launcher"):
        values.setdefault(key, []).append(value)
    return values


def _usual_launcher(name: str) -> Any:
    """The values of facekp's launcher or an installed one; None for another name."""
    shipped = {path.stem: path for path in (CONF_DIR / "hydra" / "launcher").glob("*.yaml")}
    if name in shipped:
        return read_yaml(shipped[name])
    try:
        return OmegaConf.to_container(ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node, resolve=False)
    except (ConfigLoadError, OmegaConfBaseException):
        return None


def _check_sweeper(cfg: DictConfig, given: Collection[str]) -> None:
    """Hydra appends the sweeper's ``params`` to the command line of each job."""
    found = OmegaConf.select(cfg, "hydra.sweeper.params")
    if found is None or _covers(given, "hydra.sweeper.params"):
        return
    params: Any = OmegaConf.to_container(found, resolve=False)
    for key, value in params.items():
        if f"hydra.sweeper.params.{key}" not in given and names_code(f"{key}={value}"):
            raise UserError(f"hydra.sweeper.params.{key}={value}: a config file can't set it; {ON_COMMAND_LINE}")


def names_code(override: str) -> bool:
    """Whether an argument that a file holds may run code, change how Hydra works, or read the environment.

    Example:
        >>> [names_code(text) for text in ("lr=1e-3,1e-4", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")]
        [False, False, False]
        >>> [names_code(text) for text in ("--config-dir=/tmp", "plugins=[mine]", "hydra.job.env_set.A=1")]
        [True, True, True]
    """
    key, _, value = override.partition("=")
    key = key.lstrip("+~")
    if override.startswith("-") or "\n" in override or "oc.env" in override or re.match(r"plugins\b", key):
        return True
    if "hydra" in key:
        launcher = key.removeprefix("hydra.launcher.")
        return key not in ("hydra/launcher", "hydra.sweep.dir") and launcher not in LAUNCHER_KEYS
    argument = re.fullmatch(r"(callbacks|logger)\.\w+\.(\w+)", key)
    if argument is not None and _may_lead_elsewhere(argument[2], value):
        return True
    if TARGET in override:
        named = re.fullmatch(rf"(callbacks|logger)\.\w+\.{TARGET}", key)
        return named is None or not all(map(may_be_named, value.split(",")))
    return False


def _check_added_classes(cfg: DictConfig) -> None:
    """Refuse callbacks and loggers of other packages that a file names: importing a module runs its code."""
    given = {key for key in map(key_of, _overrides(cfg, "task")) if "." in key}  # callbacks=NAME may be a file
    for group in ("callbacks", "logger"):
        entries: Any = OmegaConf.to_container(cfg[group], resolve=False) if cfg.get(group) is not None else {}
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            key = f"{group}.{name}"
            if _covers(given, f"{key}.{TARGET}"):
                continue
            if _is_reference(entry) and _stands_for_values(cfg, key):
                raise UserError(f"{key}={entry}: must be a plain value, as it may name a class")
            if isinstance(entry, Mapping) and TARGET in entry:
                check_file_target(key, entry)


def may_be_named(target: str) -> bool:
    """Whether a file may name a class: Lightning's own, or of an installed package of plug-ins, which is loaded anyway.

    Example:
        >>> may_be_named("pytorch_lightning.callbacks.LearningRateMonitor"), may_be_named("joblib.load")
        (True, False)
    """
    if FILE_TARGETS.fullmatch(target):
        return True
    points = (point for group in MODULES for point in installed_entry_points(group))
    packages = {point.module.partition(".")[0] for point in points}
    return re.fullmatch(r"[A-Za-z_][\w.]*", target) is not None and target.partition(".")[0] in packages


def check_file_target(key: str, entry: Mapping[str, Any]) -> None:
    """Refuse a class that a file may not name, and arguments of a class that could lead to other files.

    Args:
        key: of the callback or logger.
        entry: its class and arguments, as the file has them.

    Raises:
        UserError: names the class or the argument.
    """
    target = entry[TARGET]
    if not isinstance(target, str) or not may_be_named(target):
        raise UserError(f"{key}.{TARGET}={target}: a file names it, so it is not imported; {ON_COMMAND_LINE}")
    for name, value in entry.items():
        if _may_lead_elsewhere(name, value):
            raise UserError(
                f"{key}.{name}={value}: a file names this path, so nothing is written there; give "
                f"{key}.{TARGET}={target} on the command line, if you trust it"
            )


def _may_lead_elsewhere(argument: str, value: Any) -> bool:
    """Whether an argument of a callback or logger is a path that may be outside the run's folder.

    Example:
        >>> _may_lead_elsewhere("filename", "../best"), _may_lead_elsewhere("filename", "{epoch}-{val/rmse:.2f}")
        (True, False)
    """
    if argument in FOLDER_ARGUMENTS:
        return value not in (None, "null", "")
    return argument in NAME_ARGUMENTS and re.search(r"[/\\$]|\.\.", FIGURE.sub("", str(value))) is not None


def check_stored_targets(stored: Mapping[str, Any], composed: DictConfig) -> None:
    """Check the callbacks and loggers of a run's stored config, which may be untrusted.

    Args:
        stored: the plain values of config.yaml.
        composed: of the command line, which has been checked; the classes that it names may be called.

    Raises:
        UserError: a class is neither in the list for files nor given again.
    """
    for group in ("callbacks", "logger"):
        given: Any = OmegaConf.to_container(composed[group], resolve=False)
        trusted = {entry.get(TARGET) for entry in given.values() if isinstance(entry, Mapping)}
        entries = stored.get(group)
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if isinstance(entry, Mapping) and TARGET in entry and entry[TARGET] not in trusted:
                check_file_target(f"{group}.{name}", entry)


def _check_plugins(cfg: DictConfig) -> None:
    if "plugins" not in cfg:
        return
    given = {key_of(text) for text in _overrides(cfg, "task")}
    if cfg.plugins and "plugins" not in given:
        raise UserError(f"plugins={cfg.plugins}: a config file names it, so it is not imported; {ON_COMMAND_LINE}")


def _overrides(cfg: DictConfig, kind: str) -> list[str]:
    return [str(text) for text in OmegaConf.to_container(cfg.hydra.overrides[kind], resolve=False)]  # type: ignore[union-attr]


def _covers(given: Collection[str], key: str) -> bool:
    """Whether a given key is this one, or a mapping that holds it."""
    return any(key == name or key.startswith(f"{name}.") for name in given)


def _leaves(values: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _leaves(value, path)
    else:
        yield path, values
