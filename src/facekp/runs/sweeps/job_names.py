"""Names of a sweep's jobs, made of the settings that differ between them, such as ``optimizer-sgd_lr-1e-3``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from zlib import crc32

from hydra.conf import HydraConf
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from facekp.config.arguments import key_of
from facekp.config.composing import SUBSETS
from facekp.config.references import command_line_overrides
from facekp.core.errors import UserError

# Keys in which repetitions of one configuration may differ. No other key is shortened to their names in a sweep.
REPETITION_KEYS = ("seed", "data.fold", "data.split_seed", "data.held_out")
MAPPINGS = (*SUBSETS, "data.offsets")  # values whose keys are names in the data
KEY_OF_REPETITION = {key.rpartition(".")[2]: key for key in REPETITION_KEYS}  # by short name
MAX_NAME_LENGTH = 160  # characters; file systems take 255 bytes


def register_job_name() -> None:
    """Make ``${job_name:}`` known to OmegaConf; a launcher's workers get the parent's resolvers from Hydra."""
    OmegaConf.register_new_resolver(
        "job_name", lambda *, _root_: job_name(job_settings(_root_.hydra, _root_)), replace=True
    )


def job_settings(hydra: HydraConf, config: DictConfig) -> dict[str, str]:
    """The settings that make a job different from the others.

    Args:
        hydra: Hydra's part of the job's config; it names the keys that are the same for all jobs.
        config: composed config of the job.

    Returns:
        value by key, as `differing`.
    """
    return differing(
        command_line_overrides(hydra), hydra.job.config.override_dirname.exclude_keys, [str(key) for key in config]
    )


def differing(overrides: Iterable[str], excluded: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """The overrides of a job without those that all jobs share.

    Args:
        overrides: of the job, ``key=value``.
        excluded: keys that all jobs share.
        taken: names that a key must not be shortened to.

    Returns:
        value by key. A dotted key is shortened to its last part, unless two keys would become the same, or it would
        look like a fold or a seed.

    Example:
        >>> differing(["optimizer=sgd", "augment.scale=0.1", "seed=1"], ["seed"], [])
        {'optimizer': 'sgd', 'scale': '0.1'}
    """
    values = {key_of(override): short_value(override.partition("=")[2]) for override in overrides}
    values = {key: value for key, value in values.items() if key not in excluded}
    last = {key: key.rsplit(".", 1)[-1] for key in values}
    short = [*last.values(), *taken]

    def name_of(key: str) -> str:
        clear = short.count(last[key]) == 1 and KEY_OF_REPETITION.get(last[key], key) == key
        return last[key] if clear or "." not in key else key

    return {name_of(key): values[key] for key in values}


def job_name(settings: dict[str, str]) -> str:
    """The name of a job's folder.

    Example:
        >>> job_name({"optimizer": "sgd", "lr": "1e-3"})
        'optimizer-sgd_lr-1e-3'
        >>> job_name({})
        'run'
    """
    name = "_".join(f"{_safe(key)}-{_safe(value)}" for key, value in settings.items()) or "run"
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 9]}-{crc32(name.encode()):08x}"


def constant_keys(overrides: Iterable[Override]) -> list[str]:
    """Keys of a sweep's overrides that have the same value in all jobs.

    Raises:
        UserError: values of a key differ only in characters that a folder's name can't have.
    """
    constant = []
    last = {key_of(override.input_line or ""): override for override in overrides}  # a key may be given twice
    for key, override in last.items():
        if override.is_sweep_override() and not override.is_discrete_sweep():
            continue  # an interval that a sampler draws from
        values = set(override.sweep_string_iterator()) if override.is_sweep_override() else {""}
        names: dict[str, str] = {}
        for value in values:
            name = _safe(short_value(value))
            if name in names:
                raise UserError(
                    f"{override.input_line}: the values {' and '.join(sorted([names[name], value]))} would have one "
                    f"folder, {name!r}; put them into two sweeps"
                )
            names[name] = value
        constant += [key] if len(values) == 1 else []
    return constant


def short_value(value: str) -> str:
    """A value as people write it: Hydra gives small numbers as 0.001 or 1e-05.

    Example:
        >>> short_value("0.001"), short_value("1e-05"), short_value("0.25")
        ('1e-3', '1e-5', '0.25')
    """
    if not re.fullmatch(r"0?\.00\d+|\d(\.\d+)?e-\d+", value):
        return value
    digits, power = f"{float(value):.15e}".split("e")
    return f"{float(digits):.10g}e{int(power)}"


def _safe(text: str) -> str:
    """The characters that a folder's name may have; others become one hyphen."""
    return "-".join(re.findall(r"[A-Za-z0-9._+-]+", text))
