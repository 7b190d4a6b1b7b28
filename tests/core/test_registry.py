"""Registries: names from facekp, plug-in modules and installed packages; their settings and their mistakes."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from torch import Tensor

from facekp.config.plugins import defaults_of
from facekp.core import registry as registry_module
from facekp.core.errors import UserError
from facekp.core.registry import REGISTRIES, Registry
from facekp.core.settings import Settings, parse


class ShapeSettings(Settings):
    name: str
    colour: str = "red"


def scaled(points, factor: Annotated[float, Field(gt=0)] = 2.0, mode: Literal["up", "down"] = "up"):
    return points * factor if mode == "up" else points / factor


@pytest.fixture
def installed(monkeypatch):
    """Entry points of installed packages: add to the dictionary, by name."""
    points: dict[str, Any] = {}
    monkeypatch.setattr(registry_module, "_entry_points", lambda group: points)
    return points


@pytest.fixture
def shapes(installed, monkeypatch):
    monkeypatch.setattr(registry_module, "REGISTRIES", dict(REGISTRIES))
    made = Registry("shape", key="shape", base=ShapeSettings, entry_points="facekp.shapes", inputs=1)
    made.register("scaled")(scaled)
    return made


@pytest.fixture
def drawing(shapes):
    class Drawing(Settings):
        shape: Annotated[ShapeSettings, shapes.validator]
        count: int = 1

    return Drawing


def entry_point(load, name="star", value="starlib:Star", package="facekp-star"):
    return SimpleNamespace(name=name, value=value, dist=SimpleNamespace(name=package), load=load)


def test_the_keyword_arguments_are_the_settings(shapes):
    settings = shapes.parse({"name": "scaled", "factor": 4, "mode": "down"})
    assert settings.plain() == {"name": "scaled", "colour": "red", "factor": 4.0, "mode": "down"}
    assert shapes.arguments(settings) == {"factor": 4.0, "mode": "down"}
    assert shapes.partial(settings)(8) == 2
    assert shapes.settings_class("scaled").__doc__ is None


class Mode(Enum):
    UP = "up"


def drawn(points, mode: Mode = Mode.UP, table: Path | None = Path("a.csv")): ...


def test_members_of_an_enum_and_paths_are_made_of_texts(shapes):
    shapes.register("drawn")(drawn)
    assert defaults_of(shapes, "drawn") == {"name": "drawn", "colour": "red", "mode": "up", "table": "a.csv"}
    settings = shapes.parse({"name": "drawn", "mode": "up", "table": "b.csv"})
    assert shapes.arguments(settings) == {"mode": Mode.UP, "table": Path("b.csv")}
    assert settings.plain() == {"name": "drawn", "colour": "red", "mode": "up", "table": "b.csv"}
    assert shapes.parse(settings.plain()) == settings == pickle.loads(pickle.dumps(settings))
    with pytest.raises(UserError, match=r"^shape\.mode=down: input should be 'up'$"):
        shapes.parse({"name": "drawn", "mode": "down"})


def test_a_class_and_explicit_settings_can_be_registered(shapes):
    class RingSettings(ShapeSettings):
        width: Annotated[int, Field(ge=1)]

    @shapes.register("ring", RingSettings)
    class Ring:
        def __init__(self, points, width: int) -> None:
            self.width = width

    with pytest.raises(UserError, match=r"^shape\.width=0: must be at least 1$"):
        shapes.parse({"name": "ring", "width": 0})
    with pytest.raises(UserError, match=r"^shape\.width: is missing; give it as shape\.width=VALUE$"):
        shapes.parse({"name": "ring"})
    assert shapes.partial(shapes.parse({"name": "ring", "width": 3}))(0).width == 3


def test_named_inputs_are_no_settings(installed):
    made = Registry("shape", key="shape", base=ShapeSettings, entry_points="facekp.shapes", inputs=("points",))

    @made.register("square")
    def square(side: int = 2, points=None, *more, **others): ...

    assert set(made.settings_class("square").model_fields) == {"name", "colour", "side"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "scaled", "factor": -1}, "shape.factor=-1: must be greater than 0"),
        ({"name": "scaled", "factr": 1}, "shape.factr: unknown key; did you mean factor?"),
        ({"name": "scaled", "mode": "upp"}, "shape.mode=upp: choose one of up, down; did you mean up?"),
        ({"name": "scald"}, "shape: there is no shape 'scald'; choose one of scaled; did you mean scaled?"),
        ({"factor": 1.0}, "shape: name is missing; choose one of scaled"),
        ({"name": 3}, "shape: name is missing; choose one of scaled"),
    ],
)
def test_a_mistake_in_a_nested_group_reads_as_one_in_the_group_itself(shapes, drawing, values, message):
    with pytest.raises(UserError) as alone:
        shapes.parse(values)
    with pytest.raises(UserError) as nested:
        parse(drawing, {"shape": values})
    with pytest.raises(UserError) as deeper:
        parse(drawing, {"shape": values}, "job")
    assert [str(alone.value), str(nested.value), str(deeper.value)] == [message, message, f"job.{message}"]


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ("scaled", "scaled"), (3, "3")])
def test_a_value_where_a_group_belongs_lists_the_choices(shapes, drawing, value, shown):
    with pytest.raises(UserError, match=rf"^shape={shown}: must be a group of settings; choose one of scaled"):
        parse(drawing, {"shape": value})
    with pytest.raises(UserError, match=r"^shape: must be a group of settings; choose one of scaled"):
        shapes.parse(value)


def test_a_nested_group_keeps_the_settings_of_its_entry(shapes, drawing):
    settings = parse(drawing, {"shape": {"name": "scaled", "factor": 3}})
    assert settings.plain() == {
        "shape": {"name": "scaled", "colour": "red", "factor": 3.0, "mode": "up"},
        "count": 1,
    }
    assert parse(drawing, settings.plain()) == settings
    assert settings.replaced(count=2).shape == settings.shape
    assert parse(drawing, {"shape": settings.shape}).shape is settings.shape


def test_an_unknown_name_lists_the_choices(shapes):
    with pytest.raises(UserError, match=r"^shape: there is no shape 'x'; choose one of scaled$"):
        shapes["x"]
    assert "x" not in shapes
    assert list(shapes) == shapes.names() == ["scaled"]


def test_one_name_is_not_given_to_two_things(shapes):
    shapes.register("scaled")(scaled)  # again, as when a module is reloaded
    with pytest.raises(UserError, match=r"shape 'scaled': .*<lambda> cannot take this name, .*scaled has it already"):
        shapes.register("scaled")(lambda points: points)


def test_a_plug_in_cannot_take_a_built_in_name_that_is_not_imported_yet(installed, monkeypatch, tmp_path):
    """The message blames the plug-in, whichever module is imported first."""
    (tmp_path / "shapelib.py").write_text(
        "from tests.core import test_registry\n"
        "def circle(points): ...\n"
        "circle.__module__ = 'facekp.shapelib'\n"
        "test_registry.LAZY.register('circle')(circle)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry_module, "REGISTRIES", {})
    lazy = Registry("shape", "shape", ShapeSettings, entry_points="facekp.shapes", inputs=1, package="shapelib")
    monkeypatch.setitem(globals(), "LAZY", lazy)
    with pytest.raises(UserError, match=r"scaled cannot take this name, facekp\.shapelib\.circle has it already"):
        lazy.register("circle")(scaled)
    assert lazy.builtin == {"circle"}
    assert lazy.origin("circle") is None


def test_an_entry_point_is_loaded_when_its_name_is_used(shapes, installed):
    loads = []

    class Star:
        def __init__(self, points, rays: Annotated[int, Field(ge=3)] = 5) -> None:
            self.rays = rays

    def load():
        loads.append(1)
        return Star

    installed["star"] = entry_point(load)
    assert shapes.names() == ["scaled", "star"]
    assert shapes.plugin_names() == ["scaled", "star"]  # this test's module is not facekp's
    assert loads == []
    assert shapes.partial(shapes.parse({"name": "star", "rays": 7}))(0).rays == 7
    assert shapes["star"] is Star
    assert loads == [1]


@pytest.mark.parametrize("error", [ImportError("no starlib\nhere"), SystemExit("no starlib")])
def test_a_package_that_can_t_be_imported_is_named(shapes, installed, error):
    def load():
        raise error

    installed["star"] = entry_point(load)
    with pytest.raises(
        UserError, match=r"^shape 'star': the package facekp-star can't be imported: no starlib; update"
    ):
        shapes.parse({"name": "star"})


def test_a_package_cannot_replace_what_is_built_in(shapes, installed):
    shapes.builtin.add("scaled")
    installed["scaled"] = entry_point(lambda: None, name="scaled")
    with pytest.raises(UserError, match=r"the installed package facekp-star declares this name, which facekp has"):
        shapes["scaled"]


def test_two_packages_with_one_name_are_refused_where_it_is_used(monkeypatch):
    of_star = [EntryPoint("star", value, "facekp.shapes") for value in ("starlib:Star", "starlib:Star", "other:Star")]
    monkeypatch.setattr(registry_module, "REGISTRIES", dict(REGISTRIES))
    shapes = Registry("shape", key="shape", base=ShapeSettings, entry_points="facekp.shapes", inputs=1)
    shapes.register("scaled")(scaled)

    def install(points):
        monkeypatch.setattr(registry_module, "_all_entry_points", lambda: EntryPoints(points))
        registry_module._entry_points.cache_clear()
        registry_module._conflicts.cache_clear()

    install(of_star)
    assert shapes.names() == ["scaled", "star"]
    assert shapes["scaled"] is scaled
    with pytest.raises(
        UserError, match=r"^shape 'star': the packages starlib and other both declare this name; uninst"
    ):
        shapes.settings_class("star")
    install(of_star[:2])
    with pytest.raises(UserError, match=r"^shape 'star': the package starlib can't be imported: No module named"):
        shapes.settings_class("star")
    install([])


def test_the_origin_names_what_to_install(shapes, installed):
    installed["star"] = entry_point(lambda: scaled)
    assert shapes.origin("star") == {"name": "star", "module": __name__, "package": "facekp-star"}
    assert shapes.origin("scaled") == {"name": "scaled", "module": __name__}
    shapes.builtin.add("scaled")
    assert shapes.origin("scaled") is None


def test_what_facekp_defines_is_built_in():
    from facekp.networks.base import NETWORKS

    assert "hourglass" in NETWORKS.builtin | set(NETWORKS.names())
    assert NETWORKS.plugin_names() == []
    assert NETWORKS.origin("hourglass") is None


def test_every_thread_sees_the_built_in_entries(shapes, monkeypatch):
    def import_slowly(name):
        sleep(0.05)
        shapes.entries["slow"] = scaled

    monkeypatch.setattr(registry_module.importlib, "import_module", import_slowly)
    shapes.package = "facekp.shapes"
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: shapes.names(), range(4))) == [["scaled", "slow"]] * 4


def test_a_failed_import_is_tried_again(shapes, monkeypatch):
    def fail(name):
        raise ImportError(name)

    shapes.package = "facekp.core.errors"
    with monkeypatch.context() as patch:
        patch.setattr(registry_module.importlib, "import_module", fail)
        with pytest.raises(ImportError):
            shapes.names()
    assert shapes.package == "facekp.core.errors"
    assert shapes.names() == ["scaled"]
    assert shapes.package is None


def test_arguments_that_can_t_be_settings_are_named(shapes):
    @shapes.register("tensor")
    def tensor(points, other: Tensor): ...

    @shapes.register("private")
    def private(points, _side: int = 1): ...

    @shapes.register("taken")
    def taken(points, colour: str = "blue"): ...

    @shapes.register("unknown")
    def unknown(points, side: "Missing" = 1): ...  # type: ignore[name-defined]  # noqa: F821

    @dataclass
    class Side:
        length: float = 1.0

    @shapes.register("data_class")
    def data_class(points, side: Side | None = None): ...

    for name, why in {
        "data_class": r"can't be settings: side is a dataclass; annotate them with plain types",
        "tensor": r"can't be settings: Unable to generate .* annotate them with plain types",
        "private": r"can't be named _side; rename it",
        "taken": r"can't be named colour; rename it",
        "unknown": r"can't be read: name 'Missing' is not defined",
    }.items():
        with pytest.raises(UserError, match=rf"^shape '{name}': .*{why}") as error:
            shapes.parse({"name": name})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (lambda: 1, r"takes \(\); facekp calls it with 1 positional argument and its settings; see docs"),
        (lambda *, factor=2.0: 1, "calls it with 1 positional argument"),
        ("abc", "can't be settings: 'abc' is not a callable object"),
        (max, "can't be settings: no signature found"),
    ],
)
def test_what_can_t_be_called_with_its_inputs_is_named(shapes, thing, message):
    shapes.register("odd")(thing)
    with pytest.raises(UserError, match=f"^shape 'odd': .*{message}"):
        shapes.parse({"name": "odd"})


def test_an_annotation_that_is_no_type_is_named(shapes):
    @shapes.register("odd")
    def odd(points, factor: "Path.flaot" = 1.0):
        return points

    with pytest.raises(UserError, match=r"^shape 'odd': the arguments .* can't be settings: .* no attribute 'flaot'"):
        shapes.parse({"name": "odd"})


def test_a_decorator_without_a_name_is_refused(shapes):
    with pytest.raises(UserError, match=r"^shape forgotten: has no name; register it by register\(NAME\)$"):

        @shapes.register
        def forgotten(points):
            return points
