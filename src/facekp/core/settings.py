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

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
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

    @field_validator("*", mode="before")
    @classmethod
    def _read_as_yaml(cls, value: Any, info: ValidationInfo) -> Any:
        """Turn YAML lists into tuples; refuse 2.0 and true for ``Literal[1, 2]``, which pydantic takes for 2 and 1."""
        members = union_members(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, list) and any(tuple in (member, get_origin(member)) for member in members):
            return tuple(value)
        if all(member is NoneType or get_origin(member) is Literal for member in members):
            choices = [choice for member in members for choice in get_args(member)]
            if not any(choice == value and type(choice) is type(value) for choice in [*choices, None]):
                expected = ", ".join(map(repr, choices))
                raise PydanticCustomError("literal_error", "choose one of {expected}", {"expected": expected})
        return value

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
        raise UserError(first_problem(error, values, prefix)) from error


def first_problem(error: ValidationError, values: Any, prefix: str = "") -> str:
    """The first thing that is wrong, in one line: ``key=value: what is allowed``."""
    details = [(_path(detail, values), detail) for detail in error.errors(include_url=False)]
    first = details[0][0]
    # Every member of a union reports an error; the deepest one is about the type that was meant.
    same = [(path, detail) for path, detail in details if path[: len(first)] == first]
    path, detail = max(same, key=lambda pair: len(pair[0]))
    if detail["type"] == "unknown_key":
        key = ".".join([*filter(None, [prefix]), *path, detail["ctx"]["key"]])
        return f"{key}: {detail['ctx']['hint']}"
    key = ".".join([*filter(None, [prefix]), *path])
    if detail["type"] == "missing" and isinstance(detail["loc"][-1], int):
        list_key = key.rpartition(".")[0]
        return f"{list_key}={_shown(list(detail['input']))}: entry {detail['loc'][-1] + 1} is missing"
    if detail["type"] == "missing":
        return f"{key}: is missing; give it as {key}=VALUE"
    allowed = list(dict.fromkeys(_allowed(other) for position, other in same if position == path))
    text = " or ".join([allowed[0], *(words.removeprefix("must be ") for words in allowed[1:])])
    of_group = isinstance(detail["input"], Mapping) and detail["type"] == "value_error"
    given = "" if of_group else f"={_shown(detail['input'])}"
    return f"{key}{given}: {text}" if key else text


def union_members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; any other annotation itself."""
    if get_origin(annotation) is Annotated:
        return union_members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(member for argument in get_args(annotation) for member in union_members(argument))
    return (annotation,)


def _path(detail: ErrorDetails, values: Any) -> list[str]:
    """Where the error is: keys, and names or positions of a list's entries, without the names of a union's members."""
    path = []
    for part in detail["loc"]:
        if _is_union_tag(part):
            continue
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
        name = values.get("name") if isinstance(part, int) and isinstance(values, Mapping) else None
        path.append(name if isinstance(name, str) and name else str(part))
    return path


def _is_union_tag(part: Any) -> bool:
    """Whether pydantic put a member of a union into the location; our keys hold no brackets and no blanks."""
    return isinstance(part, str) and (re.search(r"[\[\]{}() ]|^constrained-", part) is not None or part in _TYPES)


_TYPES = {"str", "int", "float", "bool", "none", "list", "tuple", "dict"}


def _shown(value: Any) -> str:
    """A value as the command line would have it; quoted where YAML would read a text as something else."""
    if isinstance(value, (bool, NoneType)):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):  # made of a YAML list
        value = list(value)
    text = repr(value) if isinstance(value, str) and _looks_like_another_type(value) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _looks_like_another_type(text: str) -> bool:
    try:
        return _is_number(text) or isinstance(yaml.safe_load(text), (bool, int, float, NoneType))
    except (yaml.YAMLError, ValueError):
        return False


def _is_number(text: str) -> bool:
    try:
        float(text)  # also 1e-3, which YAML reads as a text
    except ValueError:
        return False
    return True


WORDS = {"True": "true", "False": "false", "None": "null"}  # Python's, and those of YAML

MESSAGES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a text (a number needs quotes, in a shell two kinds: \"'3'\")",
    "string_too_short": "must not be empty",
    "list_type": "must be a list, e.g. [A,B]",
    "tuple_type": "must be a list, e.g. [A,B]",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "missing": "is missing",
    "dict_type": "must be a mapping, {{NAME: VALUE}}",
    "mapping_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
}


def _allowed(detail: ErrorDetails) -> str:
    """What a value must be, in words."""
    context = detail.get("ctx", {})
    if detail["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'|([^\s,']+)", str(context["expected"]))  # such as 'a', 'b' or 2
        words = [quoted or WORDS.get(bare, bare) for quoted, bare in choices if bare != "or"]
        return f"must be {words[0]}" if len(words) == 1 else one_of(words, detail["input"])
    if detail["type"] == "too_short" and context["min_length"] == 1:
        return "must have at least one entry"
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] in MESSAGES:
        return MESSAGES[detail["type"]].format(**{name: _bound(value) for name, value in context.items()})
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _bound(value: Any) -> Any:
    """A number with all its digits, whole ones without a decimal point.

    Example:
        >>> _bound(1.0), _bound(4294967295), _bound(0.05)
        (1, 4294967295, 0.05)
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
    end = word.rsplit(".", 1)[-1]
    for synonym in (SYNONYMS.get(word), SYNONYMS.get(end)):
        if synonym in names:
            return synonym
    last = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
    if found := get_close_matches(word, names, n=1, cutoff=0.7):
        return found[0]
    if found := get_close_matches(end, list(last), n=1, cutoff=0.75):
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


def flatten(values: Mapping[str, Any], prefix: str = "", whole: Collection[str] = ()) -> dict[str, Any]:
    """Nested settings as one dictionary of dotted keys; lists stay values, and so do mappings of the keys in ``whole``.

    Example:
        >>> flatten({"lr": 1, "model": {"sizes": [1, 2]}})
        {'lr': 1, 'model.sizes': [1, 2]}
        >>> flatten({"data": {"only": {"pose": "large"}}}, whole=["data.only"])
        {'data.only': {'pose': 'large'}}
    """
    flat: dict[str, Any] = {}
    for key, value in ((f"{prefix}{name}", value) for name, value in values.items()):
        flat |= flatten(value, f"{key}.", whole) if isinstance(value, Mapping) and key not in whole else {key: value}
    return flat


class PathKind(Enum):
    """Marks the type of a setting that holds a path: of a file or a checkpoint that is read, or of what is written."""

    INPUT = "input"
    CHECKPOINT = "checkpoint"  # a file, a run's folder, or last (`facekp.runs.lookup`)
    CHECKPOINTS = "checkpoints"  # one or several of these, or a sweep's folder
    OUTPUT = "output"


HomeExpanded = AfterValidator(os.path.expanduser)  # shells leave the ~ of ckpt=~/best.ckpt as it is
FilePath = Annotated[str, Field(min_length=1), HomeExpanded, PathKind.INPUT]
FilePaths = FilePath | Annotated[list[FilePath], Field(min_length=1)]
CheckpointPath = Annotated[str, Field(min_length=1), HomeExpanded, PathKind.CHECKPOINT]
CheckpointPaths = Annotated[CheckpointPath | Annotated[list[CheckpointPath], Field(min_length=1)], PathKind.CHECKPOINTS]


def _is_plain_path(path: str) -> str:
    """Printed paths are pasted back into ckpt= and resume=, so neither a shell nor Hydra may need quotes for them."""
    if re.fullmatch(r"[\w./~@+%-]+", path) is None:
        raise ValueError("must be a path of letters, digits and ./_-~@+% only: no =, commas, brackets or blanks")
    return path


NewPath = Annotated[str, AfterValidator(_is_plain_path), HomeExpanded, PathKind.OUTPUT]


def path_fields(settings: Settings | type[Settings]) -> dict[str, PathKind]:
    """The keys of all settings that hold paths: those typed `FilePath`, `CheckpointPath` or `NewPath`.

    Args:
        settings: a settings object, or a class. Of a class, groups count by their annotation; of an object by their
            value, so keys that a plug-in adds are included.

    Returns:
        the kind of path by dotted key.

    Example:
        >>> class Run(Settings):
        ...     out: NewPath
        ...     data: FilePath | None
        >>> path_fields(Run)
        {'out': <PathKind.OUTPUT: 'output'>, 'data': <PathKind.INPUT: 'input'>}
    """
    found: dict[str, PathKind] = {}
    model = settings if isinstance(settings, type) else type(settings)
    for name, field in model.model_fields.items():
        parts = [*field.metadata, *_parts(field.annotation)]
        groups: list[Any] = [part for part in parts if isinstance(part, type) and issubclass(part, Settings)]
        if not isinstance(settings, type):
            value = getattr(settings, name)
            groups = [value] if isinstance(value, Settings) else []
        if kinds := [part for part in parts if isinstance(part, PathKind)]:
            found[name] = PathKind.CHECKPOINTS if PathKind.CHECKPOINTS in kinds else kinds[-1]
        for group in groups:
            found |= {f"{name}.{key}": kind for key, kind in path_fields(group).items()}
    return found


def _parts(annotation: Any) -> list[Any]:
    """An annotation and all that it is composed of: members of unions, items of lists, metadata."""
    return [annotation, *(part for argument in get_args(annotation) for part in _parts(argument))]


READ = (PathKind.INPUT, PathKind.CHECKPOINT, PathKind.CHECKPOINTS)


def replace_paths(settings: S, change: Callable[[str], str | list[str]], kinds: Collection[PathKind] = READ) -> S:
    """A copy in which every path of what is read is replaced by what ``change`` makes of it.

    Args:
        settings: the settings.
        change: takes a path and returns another one, or several where the setting may be a list.
        kinds: of paths that are replaced.

    Example:
        >>> class Teacher(Settings):
        ...     ckpt: CheckpointPaths | None
        >>> replace_paths(Teacher(ckpt=["a.ckpt", "b.ckpt"]), lambda path: f"/runs/{path}").ckpt
        ['/runs/a.ckpt', '/runs/b.ckpt']
    """
    fields = path_fields(settings)
    new: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            new[name] = replace_paths(value, change, kinds)
        elif fields.get(name) in kinds and value is not None:
            new[name] = _flat(change(path) for path in value) if isinstance(value, list) else change(value)
    return settings.model_copy(update=new)


def _flat(parts: Iterable[str | list[str]]) -> list[str]:
    return [path for part in parts for path in (part if isinstance(part, list) else [part])]
