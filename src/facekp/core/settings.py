"""The base class of all settings: plain values (YAML) go in, a typed object or one clear `UserError` comes out.

Every config group has one subclass of `Settings` beside the code that uses it. A field's annotation gives its type and
range, so a value is checked once, when the command starts.

Example:
    >>> from typing import Annotated
    >>> from pydantic import Field
    >>> class Blur(Settings):
    ...     sigma: Annotated[float, Field(ge=0)]  # pixels
    >>> parse(Blur, {"sigma": 2}).sigma
    2.0
    >>> parse(Blur, {"sigma": -1}, "augment.blur")
    Traceback (most recent call last):
    ...
    facekp.core.errors.UserError: augment.blur.sigma=-1: must be at least 0
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from facekp.core.errors import UserError

S = TypeVar("S", bound="Settings")

# Names from other frameworks, and what facekp calls them.
SYNONYMS = {
    "learning_rate": "lr",
    "epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "batch_size": "data.batch_size",
    "optimiser": "optimizer",
    "checkpoint": "ckpt",
    "output": "out",
    "network": "model",
    "augmentation": "augment",
}


class Settings(BaseModel):
    """Checked settings: unknown keys, wrong types, NaN and infinity are refused; nothing can be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        """Name the nearest known key, which pydantic's own message does not."""
        if isinstance(values, Mapping):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in values:
                if key not in known:
                    raise PydanticCustomError(
                        "unknown_key", "{hint}", {"key": str(key), "hint": unknown_key(str(key), known)}
                    )
        return values

    def replaced(self, **values: Any) -> Self:
        """A copy with other values, which are checked again."""
        return parse(type(self), {**self.plain(), **values})

    def plain(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, for YAML and checkpoints."""
        return self.model_dump(mode="json", by_alias=True, serialize_as_any=True)


def parse(model: type[S], values: Any, prefix: str = "") -> S:
    """Check plain values.

    Args:
        model: the settings class.
        values: a mapping, as YAML gives it.
        prefix: the key under which the values stand, e.g. ``augment``; empty for a whole config.

    Raises:
        UserError: a value is not valid. The message names the key, the value and what is allowed.
    """
    try:
        return model.model_validate(dict(values) if isinstance(values, Mapping) else values)
    except ValidationError as error:
        raise UserError(first_problem(error, prefix)) from error


def first_problem(error: ValidationError, prefix: str = "") -> str:
    """The first thing that is wrong, in one line: ``key=value: what is allowed``."""
    details = error.errors(include_url=False)
    detail = details[0]
    path = [str(part) for part in detail["loc"] if not _is_union_tag(part)]
    if detail["type"] == "unknown_key":
        key = ".".join([*filter(None, [prefix]), *path, detail["ctx"]["key"]])
        return f"{key}: {detail['ctx']['hint']}"
    key = ".".join([*filter(None, [prefix]), *path])
    if detail["type"] == "missing":
        return f"{key}: is missing; give it as {key}=VALUE"
    allowed = dict.fromkeys(_allowed(one) for one in details if one["loc"][: len(path)] == detail["loc"][: len(path)])
    return f"{key}={_shown(detail['input'])}: {' or '.join(allowed)}" if key else " or ".join(allowed)


def _is_union_tag(part: Any) -> bool:
    """Whether pydantic put a member of a union into the location; our keys hold no brackets and no blanks."""
    return isinstance(part, str) and (re.search(r"[\[\]{}() ]|-", part) is not None or part in _TYPES)


_TYPES = {"str", "int", "float", "bool", "none", "list", "tuple", "dict"}


def _shown(value: Any) -> str:
    """A value as the command line would have it."""
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, (bool, type(None))) else None
    text = str(value) if text is None else text
    return text if len(text) <= 80 else f"{text[:77]}..."


MESSAGES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a text (quote it if it looks like a number)",
    "string_too_short": "must not be empty",
    "list_type": "must be a list, e.g. [A,B]",
    "tuple_type": "must be a list, e.g. [A,B]",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "missing": "is missing",
    "dict_type": "must be a group of settings",
    "mapping_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "multiple_of": "must be a multiple of {multiple_of:g}",
}


def _allowed(detail: ErrorDetails) -> str:
    """What a value must be, in words."""
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'|(\b[\d.]+\b)", str(context["expected"]))
        return one_of([text or number for text, number in choices], detail["input"])
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] in MESSAGES:
        return MESSAGES[detail["type"]].format(**context)
    return detail["msg"][:1].lower() + detail["msg"][1:]


def one_of(choices: Iterable[Any], given: Any = None) -> str:
    """``choose one of a, b, c``, and the one that was probably meant."""
    words = [str(choice) for choice in choices]
    return f"choose one of {', '.join(words)}{did_you_mean(str(given), words)}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that does not exist."""
    names = list(known)
    hint = did_you_mean(key, names)
    return f"unknown key{hint}" if hint else f"unknown key; the keys here are {', '.join(names)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...?``, or nothing where no known word is near."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant: a synonym, or the most similar one; dotted words by their ends too."""
    names = list(known)
    if SYNONYMS.get(word) in names:
        return SYNONYMS[word]
    last = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
    if found := get_close_matches(word, names, n=1, cutoff=0.7):
        return found[0]
    if found := get_close_matches(word.rsplit(".", 1)[-1], list(last), n=1, cutoff=0.75):
        return last[found[0]]
    return None


# Types that several groups use.
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
FilePath = Annotated[str, Field(min_length=1)]
FilePaths = FilePath | Annotated[list[FilePath], Field(min_length=1)]


def _is_plain_path(path: str) -> str:
    """Paths that a run prints are pasted back into ckpt= and resume=, so no shell and no Hydra may have to quote them."""
    if re.fullmatch(r"[\w./~@+%-]+", path) is None:
        raise ValueError("must be a path of letters, digits and ./_-~@+% only: no =, commas, brackets or blanks")
    return path


NewPath = Annotated[str, AfterValidator(_is_plain_path)]
