"""Registries: networks, losses, readers and so on by name, open to other packages.

A name comes from one of three places:

1. facekp itself: modules of a package register what they define when they are imported;
2. an installed package that declares an entry point, e.g. ``[project.entry-points."facekp.losses"]``;
3. a module named by ``plugins=[mymodule]``, which calls the registering decorator.

Settings of an entry are the keyword arguments of the registered function or class. Their annotations give type and
range, so a plug-in does not need a settings class:

    >>> from facekp.core.settings import Settings
    >>> class ShapeSettings(Settings):
    ...     name: str
    >>> shapes = Registry("shape", key="shape", base=ShapeSettings, entry_points="facekp.shapes", inputs=1)
    >>> @shapes.register("scaled")
    ... def scaled(points, factor: float = 2.0):
    ...     return points * factor
    >>> settings = shapes.parse({"name": "scaled", "factor": 3.0})
    >>> shapes.partial(settings)(1)
    3.0
"""

from __future__ import annotations

import copyreg
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import is_dataclass
from enum import Enum
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import PurePath
from threading import RLock
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Strict, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticCustomError

from facekp.core.errors import UserError, first_line
from facekp.core.settings import Settings, one_of, parse, union_members

T = TypeVar("T")
REGISTRIES: dict[str, Registry[Any]] = {}  # by the entry-point group
_IMPORTING = RLock()  # one for all registries, so that no two threads wait for each other; a module may ask for names


class Registry(Generic[T]):
    """Things of one kind by name.

    Args:
        kind: what an entry is, for messages: ``loss``.
        key: the config key that names one: ``loss`` for ``loss=NAME``; for messages, and the Hydra group of plug-ins.
        base: the settings that every entry of this kind has, ``name`` among them.
        entry_points: group of entry points of installed packages, e.g. ``facekp.losses``.
        inputs: how many leading arguments are given by the caller and are no settings; or their names.
        package: package or module of facekp whose modules register the built-in entries; imported at the first use.
        config_group: Hydra group in which a plug-in's name becomes a choice; None: it is named in another way.
        config: turns an entry's values into those of its config group; by default they are the same.
    """

    def __init__(
        self,
        kind: str,
        key: str,
        base: type[Settings],
        entry_points: str,
        inputs: int | tuple[str, ...] = 0,
        package: str | None = None,
        config_group: str | None = None,
        config: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self.kind, self.key, self.base, self.group, self.inputs = kind, key, base, entry_points, inputs
        self.package, self.config_group, self.config = package, config_group, config
        self.entries: dict[str, T] = {}
        self.own_settings: dict[str, type[Settings]] = {}
        self.builtin: set[str] = set()
        REGISTRIES[entry_points] = self

    def register(self, name: str, settings: type[Settings] | None = None) -> Callable[[Any], Any]:
        """Decorator that enters a function or class under a name.

        Args:
            name: what the config calls it.
            settings: a subclass of the registry's base; None: made of the keyword arguments.

        Raises:
            UserError: the name is no text, or is taken by something else.
        """
        if not isinstance(name, str):  # of ``@register`` without a name it is the function itself
            raise UserError(
                f"{self.kind} {getattr(name, '__name__', name)}: has no name; register it by register(NAME)"
            )

        def enter(thing: Any) -> Any:
            builtin = is_builtin(thing)
            if not builtin:  # so that a plug-in which takes a built-in name is refused here, and not the built-in entry
                self._import_builtin()
            before = self.entries.get(name)
            if before is not None and _address(before) != _address(thing):
                raise UserError(
                    f"{self.kind} {name!r}: {_address(thing)} cannot take this name, {_address(before)} has it "
                    "already; choose another name"
                )
            self.entries[name] = thing
            if settings is not None:
                self.own_settings[name] = settings
            if builtin:
                self.builtin.add(name)
            return thing

        return enter

    def names(self) -> list[str]:
        """Every name that can be chosen: built-in ones, plug-ins, entry points of installed packages."""
        self._import_builtin()
        return list(dict.fromkeys([*self.entries, *self._installed()]))

    def plugin_names(self) -> list[str]:
        """Names that are not built in."""
        return [name for name in self.names() if name not in self.builtin]

    def is_installed(self, name: str) -> bool:
        """Whether an installed package brings the name by an entry point."""
        return name in self._installed()

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        """What is registered under a name.

        Raises:
            UserError: nothing is, the package that declares it can't be imported, or facekp or another package has this
                name as well.
        """
        self._import_builtin()
        installed = self._installed().get(name)
        if (other := _conflicts(self.group).get(name)) is not None and installed is not None:
            raise UserError(
                f"{self.kind} {name!r}: the packages {package_of(installed)} and {package_of(other)} both declare this "
                "name; uninstall one of them"
            )
        if installed is not None and name in self.builtin:
            package = package_of(installed)
            raise UserError(
                f"{self.kind} {name!r}: the installed package {package} declares this name, which facekp has already; "
                f"uninstall {package} or rename its entry point"
            )
        if installed is not None and name not in self.entries:
            self.register(name)(_load(self.kind, installed))
        if name not in self.entries:
            raise UserError(f"{self.key}: there is no {self.kind} {name!r}; {one_of(sorted(self.names()), name)}")
        return self.entries[name]

    def origin(self, name: str) -> dict[str, str] | None:
        """Who made a plug-in: ``module`` and, where it is installed, ``package``; None for what is built in.

        A checkpoint keeps it, so that the error of a machine without the plug-in can say what to install.
        """
        module = _module(self[name])
        if name in self.builtin:
            return None
        found = self._installed().get(name)
        package = found.dist.name if found is not None and found.dist is not None else None
        return {"name": name, "module": module, **({"package": package} if package else {})}

    def settings_class(self, name: str) -> type[Settings]:
        """The settings of an entry: the registry's base and the entry's keyword arguments."""
        thing = self[name]
        if name not in self.own_settings:
            self.own_settings[name] = self._settings_of(name, thing)
        return self.own_settings[name]

    def parse(self, values: Any, prefix: str | None = None) -> Any:
        """Check the settings of the entry that ``values["name"]`` names.

        Raises:
            UserError: no such name, or a setting is not valid.
        """
        prefix = self.key if prefix is None else prefix
        return parse(self._class_for(values, prefix), values, prefix)

    @property
    def validator(self) -> BeforeValidator:
        """For a field's annotation: ``loss: Annotated[LossSettings, LOSSES.validator]``."""

        def validate(values: Any) -> Any:
            if isinstance(values, self.base):
                return values
            try:
                chosen = self._class_for(values, "")
            except UserError as error:
                raise PydanticCustomError("value_error", "{error}", {"error": str(error)}) from error
            return chosen.model_validate(values)  # pydantic puts the field's key before what this raises

        return BeforeValidator(validate)

    def arguments(self, settings: Settings) -> dict[str, Any]:
        """The settings that the entry adds to those of the base, as keyword arguments."""
        names = [name for name in type(settings).model_fields if name not in self.base.model_fields]
        return {name: getattr(settings, name) for name in names}

    def partial(self, settings: Any) -> Callable[..., Any]:
        """The registered function with its settings filled in."""
        function: Any = self[settings.name]
        return functools.partial(function, **self.arguments(settings))

    def _class_for(self, values: Any, prefix: str) -> type[Settings]:
        where = f"{prefix}: " if prefix else ""
        if not isinstance(values, Mapping):
            raise UserError(f"{where}must be a group of settings; {one_of(sorted(self.names()), values)}")
        name = values.get("name")
        if not isinstance(name, str):
            raise UserError(f"{where}name is missing; {one_of(sorted(self.names()))}")
        if name not in self:
            raise UserError(f"{where}there is no {self.kind} {name!r}; {one_of(sorted(self.names()), name)}")
        return self.settings_class(name)

    def _settings_of(self, name: str, thing: Any) -> type[Settings]:
        try:
            signature = inspect.signature(thing, eval_str=True)
        except NameError as error:
            raise UserError(
                f"{self.kind} {name!r}: the annotations of {_address(thing)} can't be read: {error}; import it at the "
                "top of the module, not under TYPE_CHECKING"
            ) from error
        except Exception as error:  # of an annotation, or the thing has no signature
            raise self._not_settings(name, thing, first_line(error)) from error
        parameters = list(signature.parameters.values())
        if isinstance(self.inputs, int):
            try:
                signature.bind_partial(*[None] * self.inputs)
            except TypeError as error:
                raise UserError(
                    f"{self.kind} {name!r}: {_address(thing)} takes {signature}; facekp calls it with "
                    f"{self.inputs} positional argument{'s' * (self.inputs > 1)} and its settings; see "
                    "docs/how-to/extend"
                ) from error
            parameters = parameters[self.inputs :]
        fields: dict[str, Any] = {}
        for parameter in parameters:
            given = not isinstance(self.inputs, int) and parameter.name in self.inputs
            if given or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            if parameter.name in self.base.model_fields or parameter.name.startswith("_"):
                raise UserError(
                    f"{self.kind} {name!r}: an argument of {_address(thing)} can't be named {parameter.name}; rename it"
                )
            kind: Any = Any if parameter.annotation is parameter.empty else parameter.annotation
            members = [member for member in union_members(kind) if isinstance(member, type)]
            if any(is_dataclass(member) for member in members):
                raise self._not_settings(name, thing, f"{parameter.name} is a dataclass")
            if any(issubclass(member, (Enum, PurePath)) for member in members):
                kind = Annotated[kind, Strict(False)]  # made of the texts and numbers that YAML has
            fields[parameter.name] = (kind, ... if parameter.default is parameter.empty else parameter.default)
        try:
            made = create_model(f"{name}_settings", __base__=self.base, __doc__=inspect.getdoc(thing), **fields)
        except (TypeError, ValidationError, PydanticUserError) as error:
            raise self._not_settings(name, thing, first_line(error)) from error
        # A process that unpickles settings makes the class again; base and entry make it import their modules.
        copyreg.pickle(made, lambda values: (_unpickle, (self.group, self.base, thing, values.__dict__)))
        return made

    def _not_settings(self, name: str, thing: Any, why: str) -> UserError:
        return UserError(
            f"{self.kind} {name!r}: the arguments of {_address(thing)} can't be settings: {why}; annotate them "
            "with plain types (int, float, str, bool, Literal, lists of these)"
        )

    def _import_builtin(self) -> None:
        """Import facekp's own modules of this kind, once; each registers what it defines."""
        with _IMPORTING:  # other threads wait until every entry is there
            if self.package is None:
                return
            module = importlib.import_module(self.package)
            for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
                if not found.name.startswith("_"):
                    importlib.import_module(f"{self.package}.{found.name}")
            self.package = None  # not if an import failed: the next call tries again

    def _installed(self) -> dict[str, EntryPoint]:
        return _entry_points(self.group)


def _unpickle(group: str, base: type[Settings], entry: Any, values: dict[str, Any]) -> Settings:
    """The pickled settings of an entry."""
    return REGISTRIES[group].settings_class(values["name"]).model_validate(values)


def unknown_groups(known: Collection[str]) -> list[str]:
    """Groups of entry points, such as a misspelled ``facekp.loss``, that have facekp's prefix but are not known."""
    prefixes = {f"{group.partition('.')[0]}." for group in known}
    return sorted(
        group for group in _all_entry_points().groups if group.startswith(tuple(prefixes)) and group not in known
    )


def installed_entry_points(group: str) -> EntryPoints:
    """The entry points of installed packages in a group. They are read once: that takes 6 ms with 150 packages."""
    return _all_entry_points().select(group=group)


@functools.cache
def _all_entry_points() -> Any:
    return entry_points()


@functools.cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of installed packages by name; of several with a name, the first."""
    return {point.name: point for point in reversed(list(installed_entry_points(group)))}


@functools.cache
def _conflicts(group: str) -> dict[str, EntryPoint]:
    """Entry points with the name of another one that is something else."""
    first = _entry_points(group)
    return {point.name: point for point in installed_entry_points(group) if first[point.name].value != point.value}


def package_of(point: EntryPoint) -> str:
    """The package that declares an entry point; its module where that is not known."""
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


def _load(kind: str, found: EntryPoint) -> Any:
    try:
        return found.load()
    except (Exception, SystemExit) as error:  # another package's code
        raise UserError(
            f"{kind} {found.name!r}: the package {package_of(found)} can't be imported: {first_line(error)}; update or "
            "uninstall it"
        ) from error


def plugin_modules() -> list[str]:
    """The modules of all plug-ins that have been imported."""
    things = (thing for registry in REGISTRIES.values() for thing in registry.entries.values())
    return sorted({_module(thing) for thing in things if not is_builtin(thing)})


def is_builtin(thing: Any) -> bool:
    """Whether a class, a function or an object is part of facekp, not of a plug-in."""
    return _module(thing).split(".")[0] == "facekp"


def _module(thing: Any) -> str:
    return str(getattr(thing, "__module__", type(thing).__module__))


def _address(thing: Any) -> str:
    return f"{_module(thing)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
