"""What each setting may be: one table, checked first thing by every entry point."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatch
from typing import Any

from facekp.core.errors import UserError

Rule = tuple[Callable[[Any], bool], str]  # a test and what it demands, in words


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def whole(low: int, high: int | None = None) -> Rule:
    def test(value: Any) -> bool:
        return type(value) is int and low <= value and (high is None or value <= high)

    return test, f"a whole number from {low} " + ("up" if high is None else f"to {high}")


def number(low: float, high: float = math.inf, above: bool = False) -> Rule:
    def test(value: Any) -> bool:
        return _is_number(value) and (low < value if above else low <= value) and value <= high

    words = f"above {low:g}" if above else f"from {low:g}"
    return test, f"a number {words}" + ("" if high == math.inf else f" to {high:g}")


def optional(rule: Rule) -> Rule:
    return lambda value: value is None or rule[0](value), f"{rule[1]}, or null"


SHARE_BELOW_ONE: Rule = (lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1")

FLAG: Rule = (lambda value: isinstance(value, bool), "true or false")

TEXT: Rule = (_is_text, "a text; quote it where it looks like something else")

PATH: Rule = (_is_text, "a path; quote it where it looks like something else")

NEW_PATH: Rule = (  # what a run prints is pasted back into ckpt= and resume=: nothing that Hydra or a shell would quote
    lambda value: isinstance(value, str) and re.fullmatch(r"[\w./~@+%-]+", value) is not None,
    "a path of letters, digits and ./_-~@+% only, no =, commas, brackets or blanks",
)

PATHS: Rule = (
    lambda value: _is_text(value) or (isinstance(value, list) and len(value) > 0 and all(map(_is_text, value))),
    "a path, or a list of at least one",
)

TEXTS: Rule = (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of texts, e.g. [A,B]")

ANY_NUMBER: Rule = (_is_number, "a number")

GROUP: Rule = (lambda value: isinstance(value, dict), "a group of settings")

OFFSETS: Rule = (
    lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "a number of pixels by source, e.g. {sparse:1.15}",
)

RULES: dict[str, Rule] = {  # the first pattern that a key fits decides
    "seed": whole(0, 2**32 - 1),
    "lr": number(0, above=True),
    "debug": FLAG,
    "out": optional(NEW_PATH),
    "init_from": optional(PATH),
    "resume": optional(PATH),
    "sweep.resume": optional(NEW_PATH),
    "ckpt": PATHS,
    "subset": TEXT,
    "data": GROUP,
    "data.dir": PATH,
    "data.cache": optional(PATH),
    "data.download": FLAG,
    "data.rows": optional(whole(1)),
    "data.seed": whole(0),
    "data.folds": whole(2),
    "data.fold": whole(0),
    "data.split_seed": whole(0),
    "data.batch_size": whole(1),
    "data.device_bytes": whole(0),
    "data.offsets": optional(OFFSETS),
    "data.images": PATH,
    "data.labels": PATH,
    "data.size": whole(32, 1024),
    "data.margin": number(0, 1),
    "data.skip_broken": FLAG,
    "data.category": optional(TEXT),
    "offsets": optional(OFFSETS),
    "test_rows": whole(1),
    "model": GROUP,
    "model.network": GROUP,
    "model.by_source": FLAG,
    "model.sigma": number(0, above=True),
    "model.normalise": GROUP,
    "model.normalise.mean": ANY_NUMBER,
    "model.normalise.std": number(0, above=True),
    "decoder.flip": optional(FLAG),
    "decoder.floor": optional(number(0)),
    "decoder.rule": optional(TEXT),
    "decoder.scale": optional(number(0, 0.5)),
    "decoder.shift": optional(number(0)),
    "optimizer.momentum": SHARE_BELOW_ONE,
    "optimizer.betas": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(SHARE_BELOW_ONE[0](one) for one in value),
        "two numbers from 0 to below 1, e.g. [0.9,0.999]",
    ),
    "optimizer.weight_decay": number(0),
    "scheduler.warmup": SHARE_BELOW_ONE,
    "scheduler.start": number(0, 1),
    "scheduler.end": number(0, 1),
    "loss.foreground": number(0),
    "loss.cross_entropy_share": number(0),
    "augment.flip": number(0, 1),
    "augment.scale": number(0, 0.9),
    "augment.stretch": number(0, 0.9),  # a width below 0 would be a mirror image that nobody knows of
    "augment.shear": number(0, 0.9),
    "augment.wild": number(0, 1),
    "augment.contrast": number(0, 1),
    "augment.blur": number(0, 1),
    "augment.erase": number(0, 1),
    "augment.elastic": number(0, 5),  # no field of such displacements folds: facekp.functional.warp.KNOTS
    "augment.*": number(0),
    "teacher.ckpt": optional(PATHS),
    "teacher.weight": number(0),
    "teacher.unlabelled": FLAG,
    "teacher.drop": optional(number(0, above=True)),
    "teacher.seen": FLAG,
    "trainer.max_epochs": whole(1),
    "trainer.gradient_clip_val": optional(number(0, above=True)),
    "trainer.fast_cpu": FLAG,
    "callbacks.progress": FLAG,
    "callbacks.patience": optional(whole(1)),
    "callbacks.ema": optional(number(0, 1)),
    "callbacks.pictures": whole(0),
    "logger.offline": FLAG,
    "logger.tags": TEXTS,
    "logger.faces": whole(0),
    "logger.patience": number(0),
    "hparams_search.trials": whole(1),
    "hparams_search.parallel": optional(whole(1)),
    "hparams_search.seed": whole(0),
    "hparams_search.random": whole(1),
    "hparams_search.storage": optional(TEXT),
    "hparams_search.prune": GROUP,
    "hparams_search.prune.percentile": optional(number(0, 100)),
    "hparams_search.prune.trials": whole(1),
    "hparams_search.prune.epochs": whole(1),
    "source": optional(TEXT),
    "device": TEXT,
    "refine": FLAG,
    "scales": (
        lambda value: isinstance(value, list) and all(_is_number(one) and one > 0 for one in value),
        "a list of numbers above 0",
    ),
    "draw": FLAG,
    "batch": whole(1),
    "frames": optional(whole(1)),
    "port": whole(1, 65535),
    "max_mega*": number(0, above=True),
    "detector": GROUP,
    "detector.step": number(1.01, 2),
    "detector.neighbours": whole(0),
    "detector.smallest": whole(24),
    "detector.longest": whole(96),
    "rounds": whole(1),
    "steps": whole(1),
    "what": TEXT,
    "faces": whole(0, 100),
    "resamples": whole(100),
    "threads": whole(1),
    "row_by_row": whole(1),
    "fast": FLAG,
    "half": FLAG,
    "reliability": optional(NEW_PATH),
    "format": TEXT,
    "precision": TEXT,
    "input": TEXT,
    "force": FLAG,
    "check": whole(2),
    "entity": optional(TEXT),
    "project": TEXT,
    "title": TEXT,
    "dry_run": FLAG,
    "root": NEW_PATH,
    "ladder": (lambda value: isinstance(value, list) and len(value) > 0, "a list of steps"),
    "rows": (lambda value: isinstance(value, list) and len(value) > 0, "a list of rows"),
    "only": optional(TEXTS),
    "train": TEXTS,
    "train_missing": FLAG,
    "picture": GROUP,
    "picture.out": optional(NEW_PATH),
    "picture.rows": TEXTS,
    "*.name": TEXT,
}


def check(values: Mapping[str, Any], prefix: str = "") -> None:
    """Test every setting that a rule is known for.

    Args:
        values: a composed config, or a part of one.
        prefix: where the part stands in the whole, with a dot at its end.

    Raises:
        UserError: one is not what it must be; the message names key, value and demand.
    """
    for name, value in values.items():
        key = f"{prefix}{name}"
        rule = next((rule for pattern, rule in RULES.items() if fnmatch(key, pattern)), None)
        if rule is not None and not rule[0](value):
            raise UserError(f"{key}={value}: must be {rule[1]}")
        if isinstance(value, Mapping):
            check(value, f"{key}.")


def check_setting(setting: str, value: Any, allowed: Collection[Any]) -> None:
    """One setting of a network against what it may be.

    Raises:
        UserError: it is something else; the message names the choices.
    """
    if any(type(value) is type(one) and value == one for one in allowed):  # 2.0 and True are no whole numbers
        return
    if isinstance(allowed, range):
        step = f" in steps of {allowed.step}" if allowed.step > 1 else ""
        choices = f"a whole number from {allowed[0]} to {allowed[-1]}{step}"
    else:
        choices = "one of " + ", ".join(map(str, allowed))
    raise UserError(f"network.{setting}: {value!r} is not {choices}")
