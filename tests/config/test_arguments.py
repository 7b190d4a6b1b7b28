"""Command lines as people write them reach Hydra in its grammar."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from facekp.config import arguments
from facekp.config.arguments import add_keys_of_swept_groups, check_launcher, quoted
from facekp.config.catalog import Catalog
from facekp.config.location import CONF_DIR
from facekp.core.errors import UserError


@pytest.mark.parametrize("value", ["outputs/übung", "~/x.ckpt", "epoch=3.ckpt", "modèle d'été.ckpt", "a&b.ckpt"])
def test_any_text_reaches_hydra_as_it_is(value):
    (argument,) = quoted([f"ckpt={value}"])
    assert OverridesParser.create().parse_override(argument).value() == value


@pytest.mark.parametrize(
    "argument",
    ["lr=1e-3", "data.offsets={dense:1.0}", "ckpt=[a,b]", "lr=interval(0,1)", "--cfg", "photo.jpg", "+a.b=1"],
)
def test_what_hydra_reads_is_not_changed(argument):
    assert quoted(["-m", argument]) == ["-m", argument]


@pytest.mark.parametrize(
    ("value", "jobs"),
    [
        ("[größe],[klein]", [["größe"], ["klein"]]),
        ("choice(größe,klein)", ["größe", "klein"]),
        ("'x,y',größe", ["x,y", "größe"]),
        ("d'été,x", ["d'été", "x"]),
        ("x=) y,b=1", ["x=) y", "b=1"]),
        ("[{a: ü, b: [c=1,d]}],2", [[{"a": "ü", "b": ["c=1", "d"]}], 2]),
    ],
)
def test_only_commas_between_the_values_of_a_sweep_divide_it(value, jobs):
    _, argument = quoted(["-m", f"logger.tags={value}"])
    override = OverridesParser.create().parse_override(argument)
    assert override.is_sweep_override()
    values = [
        OverridesParser.create().parse_override(f"key={text}").value() for text in override.sweep_string_iterator()
    ]
    assert values == jobs


def test_texts_in_nested_groups_need_no_quotes():
    (argument,) = quoted(["rows=[{name: a, train: [lr=1e-3, 'b,c']}]"])
    (row,) = OverridesParser.create().parse_override(argument).value()
    assert row == {"name": "a", "train": ["lr=1e-3", "b,c"]}


CATALOG = Catalog("train", [CONF_DIR])


def test_keys_of_a_swept_group_are_added():
    given = ["-m", "scheduler=cosine,onecycle", "scheduler.end=1e-2", "lr=1"]
    assert add_keys_of_swept_groups(given, CATALOG) == [*given[:2], "++scheduler.end=1e-2", "lr=1"]
    assert add_keys_of_swept_groups(given[1:], CATALOG) == given[1:]


def test_a_key_that_a_swept_choice_lacks_is_refused():
    with pytest.raises(UserError, match=r"optimizer\.momentum: optimizer=adam does not have this key"):
        add_keys_of_swept_groups(["-m", "optimizer=sgd,adam", "optimizer.momentum=0.9"], CATALOG)
    with pytest.raises(UserError, match=r"optimizer\.momentun: unknown key; did you mean momentum\?"):
        add_keys_of_swept_groups(["-m", "optimizer=sgd,muon", "optimizer.momentun=0.9"], CATALOG)


def test_a_launcher_that_is_not_installed_is_reported_with_its_extra(monkeypatch):
    check_launcher(["hydra/launcher=joblib", "hydra/launcher=basic"])
    monkeypatch.setattr(arguments, "find_spec", lambda name: None)
    check_launcher(["hydra/launcher=basic", "lr=1"])
    with pytest.raises(UserError, match=r"hydra/launcher=submitit_local: .*pip install 'facekp\[submitit\]'"):
        check_launcher(["hydra/launcher=submitit_local"])
