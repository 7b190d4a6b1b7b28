"""Plug-ins: modules of ``plugins=[mymodule]`` and entry points of installed packages, made choices of the config.

A registered name becomes a choice of its Hydra group, so that ``loss=NAME loss.strength=2`` works without a YAML file.
Nothing that a file names is imported: ``plugins=`` counts on the command line and in the config it composes only.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic_core import PydanticUndefined

from facekp.config.location import CONF_DIR
from facekp.core.console import listed
from facekp.core.device import restore_torch_defaults
from facekp.core.errors import UserError
from facekp.core.registry import REGISTRIES, Registry, installed_entry_points, package_of, unknown_groups
from facekp.core.settings import did_you_mean

log = logging.getLogger(__name__)

# The modules that define the registries, by the group of entry points.
MODULES = {
    "facekp.networks": "facekp.networks.base",
    "facekp.losses": "facekp.functional.losses",
    "facekp.decoders": "facekp.functional.decoders",
    "facekp.metrics": "facekp.functional.metrics",
    "facekp.readers": "facekp.data.readers.base",
    "facekp.writers": "facekp.data.writers.base",
    "facekp.augmentations": "facekp.data.transforms.base",
    "facekp.optimizers": "facekp.training.optim",
    "facekp.schedules": "facekp.training.optim",
    "facekp.face_detectors": "facekp.photos.detectors",
}


def named_plugins(arguments: Sequence[str]) -> list[str]:
    """Modules that ``plugins=`` names on a command line.

    Raises:
        UserError: the value is no list of module names.
    """
    given = [argument.partition("=")[2] for argument in arguments if argument.lstrip("+").startswith("plugins=")]
    if not given:
        return []
    try:
        value = yaml.safe_load(given[-1])
    except yaml.YAMLError:
        value = given[-1]
    names = [value] if isinstance(value, str) and not re.search(r"[\[\]{},]", value) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"plugins={given[-1]}: must be a list of module names, e.g. plugins=[mymodule]")
    return names


def with_plugin_lists(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``plugins=[mymodule]`` for ``plugins=mymodule``.

    Example:
        >>> with_plugin_lists(["plugins=mymodule", "plugins=[a,b]", "lr=1"])
        ['plugins=[mymodule]', 'plugins=[a,b]', 'lr=1']
    """
    return [re.sub(r"^(\+*plugins)=([\w.]+)$", r"\1=[\2]", argument) for argument in arguments]


def import_plugins(names: Iterable[str]) -> None:
    """Import modules, which register what they bring; a module of the working directory is found too.

    Torch's default type and device stay, also if a module sets them.

    Raises:
        UserError: there is no such module, or it can't be imported.
    """
    for name in names:
        search_working_directory()
        if "/" in name or name.startswith("."):
            raise UserError(f"plugins=[{name}]: is a path; {_module_hint(name)}")
        try:
            imported = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0] and error.name != name:
                raise UserError(f"plugins=[{name}]: it needs {error.name}, {_missing(error.name)}") from error
            hint = "name one that is installed or lies in the working directory"
            if name.endswith(".py"):
                hint = f"leave out .py: plugins=[{name[:-3]}]"
            raise UserError(f"plugins=[{name}]: no such module; {hint}") from error
        except UserError:
            raise
        except SystemExit as error:
            raise UserError(
                f"plugins=[{name}]: ends the program when it is imported (SystemExit: {error}); put what it runs as a "
                'script under if __name__ == "__main__":'
            ) from error
        except Exception as error:  # the plug-in's own code
            raise UserError(f"plugins=[{name}]: can't be imported: {type(error).__name__}: {error}") from error
        file, origin = Path(f"{name}.py").absolute(), imported.__spec__ and imported.__spec__.origin
        if file.is_file() and not (origin and os.path.exists(origin) and file.samefile(origin)):
            log.warning("plugins=[%s]: imports %s, not %s; rename your file", name, origin, file)
        restore_torch_defaults()


def _missing(module: str | None) -> str:
    """Why a module can't be imported that a plug-in needs, and what to do.

    Example:
        >>> _missing("timm"), _missing("facekp.losses")
        ('which is not installed; install it', 'which does not exist; import from facekp.functional.losses')
    """
    if module in MODULES:  # the name of a group of entry points
        return f"which does not exist; import from {MODULES[module]}"
    package = (module or "").partition(".")[0]
    if package != module and package in sys.modules:
        return f"which {package} does not have; correct the import"
    return "which is not installed; install it"


def _module_hint(path: str) -> str:
    """How to name the module of a file.

    Example:
        >>> _module_hint("./mine.py"), _module_hint("../code/mine.py")
        ('name the module: plugins=[mine]', 'name the module: plugins=[mine], with PYTHONPATH=../code')
    """
    folder, stem = Path(path).parent, Path(path).stem
    return f"name the module: plugins=[{stem}]" + ("" if folder == Path() else f", with PYTHONPATH={folder}")


def search_working_directory() -> None:
    """Let modules of the working directory be imported, as `python -m` does and an installed command does not."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())


def plugin_choices(plugins: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """The choices that plug-ins bring: plain default values by Hydra group and name.

    An installed package that is broken is left out with a warning, as not every command needs it, and so is a group of
    entry points that does not exist.

    Raises:
        UserError: a choice of ``plugins`` is not valid.
    """
    installed = [group for group in MODULES if installed_entry_points(group)]
    for group in unknown_groups(MODULES):
        packages = listed(sorted({package_of(point) for point in installed_entry_points(group)}))
        log.warning(
            "left out: entry points of %s in an unknown group, %s%s", packages, group, did_you_mean(group, MODULES)
        )
    if not plugins and not installed:
        return {}
    for group in installed:
        importlib.import_module(MODULES[group])
    choices: dict[str, dict[str, dict[str, Any]]] = {}
    for registry in list(REGISTRIES.values()):  # a plug-in's module may import those of other kinds
        if registry.config_group is None:
            continue
        for name in registry.plugin_names():
            try:
                choice = _choice(registry, registry.config_group, name)
            except UserError as error:
                if not registry.is_installed(name):
                    raise
                log.warning("left out: %s", error)
            else:
                choices.setdefault(registry.config_group, {})[name] = choice
    return choices


def _choice(registry: Registry[Any], group: str, name: str) -> dict[str, Any]:
    """Make a choice of a Hydra group from the defaults of a plug-in's settings.

    Raises:
        UserError: a setting can't be read, or facekp has a file of this name, which Hydra would take instead.
    """
    values = registry.config(defaults_of(registry, name))
    for key, value in values.items():
        try:
            OmegaConf.create({key: value})
        except OmegaConfBaseException as error:
            raise UserError(
                f"{registry.kind} {name!r}: the default of {key}, a {type(value).__name__}, can't be part of a config "
                "file; use a number, a text, true, false, null, or lists of these"
            ) from error
    if (CONF_DIR / group / f"{name}.yaml").is_file():
        raise UserError(f"{registry.kind} {name!r}: facekp has {group}={name} already; choose another name")
    return values


def defaults_of(registry: Registry[Any], name: str) -> dict[str, Any]:
    """Plain default settings of an entry; ``???`` where it has none, so that Hydra asks for the value."""
    values: dict[str, Any] = {}
    for key, field in registry.settings_class(name).model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Enum):
            default = default.value
        elif isinstance(default, PurePath):
            default = str(default)
        values[key] = "???" if default is PydanticUndefined else default
    return {**values, "name": name}


def without_files(
    choices: Mapping[str, Mapping[str, Mapping[str, Any]]], folders: Sequence[Path]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The choices without those that have a file of their own in the user's ``--config-dir``, which Hydra reads."""

    def is_hidden(group: str, name: str) -> bool:
        return any((folder / group / f"{name}.yaml").is_file() for folder in folders)

    return {
        group: {name: node for name, node in nodes.items() if not is_hidden(group, name)}
        for group, nodes in choices.items()
    }


def store_choices(choices: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Make the choices known to Hydra."""
    for group, nodes in choices.items():
        for name, node in nodes.items():
            ConfigStore.instance().store(group=group, name=name, node=dict(node), provider="facekp plug-in")
