"""Settings: what is accepted, and the one line that says what is wrong."""

from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field, model_validator

from facekp.core.errors import UserError
from facekp.core.settings import (
    CheckpointPaths,
    Count,
    FilePath,
    Fraction,
    FractionBelowOne,
    NewPath,
    NonNegative,
    PathKind,
    Positive,
    PositiveCount,
    Settings,
    Text,
    did_you_mean,
    one_of,
    parse,
    path_fields,
    replace_paths,
)


class Inner(Settings):
    mode: Literal["fast", "slow"] = "fast"
    stride: Literal[1, 2, 4] = 1
    level: Literal["auto"] | PositiveCount = "auto"
    offsets: dict[str, float] | None = None


class Outer(Settings):
    inner: Inner = Inner()
    other: Inner | None = None
    lr: Positive = 1e-3
    epochs: PositiveCount = 1
    rows: Count | None = None
    flip: Fraction = 0.5
    momentum: FractionBelowOne = 0.0
    decay: NonNegative = 0.0
    debug: bool = False
    device: Text = "cpu"
    ckpt: CheckpointPaths = "a.ckpt"
    out: NewPath = "out"
    betas: tuple[FractionBelowOne, FractionBelowOne] = (0.9, 0.999)
    scales: list[Positive] = Field([1.0])
    size: Annotated[int, Field(ge=32, le=1024, multiple_of=4)] = 96
    seed: Annotated[int, Field(le=2**32 - 1)] = 0

    @model_validator(mode="after")
    def _check_epochs(self):
        if self.epochs > 100 and self.debug:
            raise ValueError("epochs: at most 100 with debug=true; set debug=false")
        return self


def refused(values: Any, prefix: str = "") -> str:
    with pytest.raises(UserError) as error:
        parse(Outer, values, prefix)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", 0, "lr=0: must be greater than 0"),
        ("lr", "fast", "lr=fast: must be a number"),
        ("lr", "1", "lr='1': must be a number"),
        ("lr", "1e-3", "lr='1e-3': must be a number"),
        ("lr", {"max": 1}, "lr={'max': 1}: must be a number"),
        ("lr", True, "lr=true: must be a number"),
        ("lr", None, "lr=null: must be a number"),
        ("lr", float("nan"), "lr=nan: must be a finite number"),
        ("lr", float("inf"), "lr=inf: must be a finite number"),
        ("epochs", 0, "epochs=0: must be at least 1"),
        ("epochs", 1.5, "epochs=1.5: must be a whole number"),
        ("epochs", 2.0, "epochs=2.0: must be a whole number"),
        ("epochs", True, "epochs=true: must be a whole number"),
        ("rows", -1, "rows=-1: must be at least 0"),
        ("flip", 1.1, "flip=1.1: must be at most 1"),
        ("momentum", 1, "momentum=1: must be less than 1"),
        ("decay", -0.5, "decay=-0.5: must be at least 0"),
        ("debug", "abc", "debug=abc: must be true or false"),
        ("debug", 1, "debug=1: must be true or false"),
        ("device", "", "device='': must not be empty"),
        ("device", 3, "device=3: must be a text (a number needs quotes, in a shell two kinds: \"'3'\")"),
        ("size", 28, "size=28: must be at least 32"),
        ("size", 97, "size=97: must be a multiple of 4"),
        ("seed", 2**32, "seed=4294967296: must be at most 4294967295"),
        ("out", 3, "out=3: must be a text (a number needs quotes, in a shell two kinds: \"'3'\")"),
    ],
)
def test_a_wrong_type_or_range_is_named_with_key_and_value(key, value, message):
    assert refused({key: value}) == message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "ckpt",
            5,
            "ckpt=5: must be a text (a number needs quotes, in a shell two kinds: \"'3'\") or a list, e.g. [A,B]",
        ),
        ("ckpt", [5], "ckpt.0=5: must be a text (a number needs quotes, in a shell two kinds: \"'3'\")"),
        ("ckpt", ["a", ""], "ckpt.1='': must not be empty"),
        ("betas", 0.9, "betas=0.9: must be a list, e.g. [A,B]"),
        ("betas", [0.9], "betas=[0.9]: entry 2 is missing"),
        ("betas", [0.9, 1], "betas.1=1: must be less than 1"),
        ("scales", [1, -1], "scales.1=-1: must be greater than 0"),
        ("scales", None, "scales=null: must be a list, e.g. [A,B]"),
    ],
)
def test_lists_and_unions_name_the_entry_that_is_wrong(key, value, message):
    assert refused({key: value}) == message


@pytest.mark.parametrize("path", ["a b", "a=b", "a,b", "[a]", ""])
def test_a_new_path_needs_no_quotes_on_a_command_line(path):
    assert "must be a path of letters, digits and ./_-~@+% only: no =, commas" in refused({"out": path})


def test_an_empty_list_needs_an_entry():
    assert refused({"ckpt": []}).endswith("must have at least one entry")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "slo"}, "inner.mode=slo: choose one of fast, slow; did you mean slow?"),
        ({"mode": None}, "inner.mode=null: choose one of fast, slow"),
        ({"stride": 3}, "inner.stride=3: choose one of 1, 2, 4"),
        ({"stride": True}, "inner.stride=true: choose one of 1, 2, 4"),
        ({"stride": 2.0}, "inner.stride=2.0: choose one of 1, 2, 4"),
        ({"level": "never"}, "inner.level=never: must be auto or a whole number"),
        ({"level": 0}, "inner.level=0: must be auto or at least 1"),
        ({"offsets": {"my-source": "x"}}, "inner.offsets.my-source=x: must be a number"),
        ({"offsets": 3}, "inner.offsets=3: must be a mapping, {NAME: VALUE}"),
    ],
)
def test_choices_of_a_nested_group_are_listed(values, message):
    assert refused({"inner": values}) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentun": 0.9}, "momentun: unknown key; did you mean momentum?"),
        ({"learning_rate": 1}, "learning_rate: unknown key; did you mean lr?"),
        ({"inner": {"strid": 2}}, "inner.strid: unknown key; did you mean stride?"),
        ({"inner": {"zzz": 2}}, "inner.zzz: unknown key; the keys here are mode, stride, level, offsets"),
        ({"other": {"mod": 2}}, "other.mod: unknown key; did you mean mode?"),
        ({1: 2, "lr": 0}, "1: unknown key"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(values, message):
    assert refused(values).startswith(message)


def test_a_group_that_is_no_group_is_one_line():
    assert refused({"inner": None}) == "inner=null: must be a group of settings"
    assert refused({"inner": 5}, "train") == "train.inner=5: must be a group of settings"
    assert refused(None, "augment") == "augment=null: must be a group of settings"
    assert refused([1]) == "must be a group of settings"


def test_a_list_is_shown_as_yaml_has_it_where_the_setting_is_a_tuple():
    class Row(Settings):
        seeds: Annotated[tuple[int, ...], Field(min_length=1)]

    with pytest.raises(UserError, match=r"^seeds=\[\]: must have at least one entry$"):
        parse(Row, {"seeds": []})


def test_an_entry_of_a_list_is_called_by_its_name():
    class Row(Settings):
        name: str
        seed: PositiveCount

    class Rows(Settings):
        rows: list[Row]

    rows = [{"name": "base", "seed": 1}, {"name": "wide", "seed": 0}]
    with pytest.raises(UserError, match=r"^rows\.wide\.seed=0: must be at least 1$"):
        parse(Rows, {"rows": rows})
    with pytest.raises(UserError, match=r"^rows\.1\.name=7: must be a text"):
        parse(Rows, {"rows": [rows[0], {"name": 7, "seed": 1}]})


def test_a_missing_value_says_how_to_give_it():
    class Needed(Settings):
        out: NewPath

    with pytest.raises(UserError, match=r"^export\.out: is missing; give it as export\.out=VALUE$"):
        parse(Needed, {}, "export")


def test_a_rule_over_several_keys_shows_its_message_without_the_whole_group():
    assert refused({"epochs": 200, "debug": True}) == "epochs: at most 100 with debug=true; set debug=false"
    assert refused({"epochs": 200, "debug": True}, "trainer").startswith("trainer: epochs: at most 100")


def test_a_long_value_is_shortened():
    assert refused({"lr": "x" * 500}).startswith(f"lr={'x' * 77}...: ")


def test_valid_values_are_kept_and_frozen():
    settings = parse(Outer, {"lr": 1, "betas": [0.5, 0.6], "inner": {"stride": 2}, "ckpt": ["a", "b"]})
    assert (settings.lr, settings.betas, settings.inner.stride, settings.ckpt) == (1.0, (0.5, 0.6), 2, ["a", "b"])
    with pytest.raises(ValueError, match="frozen"):
        settings.lr = 2.0


def test_plain_values_survive_yaml():
    settings = parse(Outer, {"betas": [0.5, 0.6], "inner": {"offsets": {"dense": 0.2}}, "rows": 3})
    assert parse(Outer, yaml.safe_load(yaml.safe_dump(settings.plain()))) == settings


def test_replaced_values_are_checked():
    settings = Outer().replaced(lr=0.5, inner={"stride": 4})
    assert (settings.lr, settings.inner.stride, settings.flip) == (0.5, 4, 0.5)
    with pytest.raises(UserError, match="lr=-1: must be greater than 0"):
        Outer().replaced(lr=-1)


def test_names_are_suggested_by_similarity_synonym_and_last_part():
    assert did_you_mean("trainer.max_epoch", ["trainer.max_epochs", "lr"]) == "; did you mean trainer.max_epochs?"
    assert did_you_mean("max_epoch", ["trainer.max_epochs", "lr"]) == "; did you mean trainer.max_epochs?"
    assert did_you_mean("trainer.epochs", ["trainer.min_epochs", "trainer.max_epochs"]) == (
        "; did you mean trainer.max_epochs?"
    )
    assert did_you_mean("checkpoint", ["ckpt", "out"]) == "; did you mean ckpt?"
    assert did_you_mean("zebra", ["ckpt", "out"]) == ""
    assert one_of(["mse", "wing"], "mses") == "choose one of mse, wing; did you mean mse?"


class Network(Settings):
    name: str


class Plugged(Network):
    """The settings of a plug-in, which has a key that the group's own type lacks."""

    weights: FilePath | None
    cache: NewPath = "c"


class Run(Settings):
    network: Network
    ckpt: CheckpointPaths | None = None
    out: NewPath = "out"
    from_: FilePath = Field("f", alias="from")


def test_keys_of_a_plug_in_s_group_are_plain_values_and_paths_too():
    run = Run(network=Plugged(name="mine", weights="w"), ckpt=["a", "b"])
    network = {"name": "mine", "weights": "w", "cache": "c"}
    assert run.plain() == {"network": network, "ckpt": ["a", "b"], "out": "out", "from": "f"}
    own = {"ckpt": PathKind.CHECKPOINTS, "out": PathKind.OUTPUT, "from_": PathKind.INPUT}
    assert path_fields(Run) == own
    assert path_fields(run) == {**own, "network.weights": PathKind.INPUT, "network.cache": PathKind.OUTPUT}


def test_paths_of_one_kind_are_replaced_in_every_group():
    run = Run(network=Plugged(name="mine", weights="w"), ckpt=["a", "b"])
    read = replace_paths(run, lambda path: f"/x/{path}").plain()
    assert read["network"] == {"name": "mine", "weights": "/x/w", "cache": "c"}
    assert (read["ckpt"], read["out"], read["from"]) == (["/x/a", "/x/b"], "out", "/x/f")
    written = replace_paths(run, lambda path: f"/x/{path}", [PathKind.OUTPUT]).plain()
    assert written["network"] == {"name": "mine", "weights": "w", "cache": "/x/c"}
    assert (written["ckpt"], written["out"], written["from"]) == (["a", "b"], "/x/out", "f")
    assert replace_paths(Run(network=Plugged(name="mine", weights=None)), str.upper).network.weights is None


def test_an_aliased_key_is_given_by_its_alias_and_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    run = parse(Run, {"network": {"name": "n"}, "from": "~/f", "out": "~/o", "ckpt": ["~/a"]})
    assert (run.from_, run.out, run.ckpt) == ("/home/me/f", "/home/me/o", ["/home/me/a"])
    with pytest.raises(UserError, match=r"^from_: unknown key; did you mean from\?$"):
        parse(Run, {"network": {"name": "n"}, "from_": "f"})
