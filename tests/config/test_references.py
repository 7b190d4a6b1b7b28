"""References to the environment: resolved for use, written as they were given, and never shown."""

import logging

import pytest
from omegaconf import OmegaConf

from facekp.config.command import one_line, plain_values
from facekp.config.references import (
    MaskingFilter,
    command_line_overrides,
    masked,
    register_env_resolver,
    remember_references,
    resolve_stored_references,
    restore_references,
    with_references,
)
from facekp.core.errors import UserError


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter22")
    monkeypatch.setenv("MY_NUMBER", "3")
    monkeypatch.setenv("FACEKP_DATA", "/faces")
    register_env_resolver()


def config(**values):
    return OmegaConf.create(values)


def test_texts_are_written_as_references_and_numbers_as_values():
    cfg = config(
        logger={"project": "${oc.env:MY_SECRET}", "tags": ["a", "${oc.env:MY_SECRET}"]},
        seed="${oc.decode:${oc.env:MY_NUMBER}}",
        data={"dir": "${oc.env:FACEKP_DATA,x}", "labels": "${logger.project}/faces.csv"},
        lr=1e-3,
    )
    values = plain_values(cfg)
    assert values["logger"] == {"project": "hunter22", "tags": ["a", "hunter22"]}
    assert with_references(values) == {
        "logger": {"project": "${oc.env:MY_SECRET}", "tags": ["a", "${oc.env:MY_SECRET}"]},
        "seed": 3,
        "data": {"dir": "/faces", "labels": "${logger.project}/faces.csv"},
        "lr": 1e-3,
    }
    assert values["logger"]["project"] == "hunter22"  # a copy was changed
    assert with_references({"project": "hunter22"}, "logger") == {"project": "${oc.env:MY_SECRET}"}


def test_a_reference_to_a_missing_value_names_the_value():
    with pytest.raises(UserError, match=r"^out is needed; give it as out=VALUE$"):
        plain_values(config(out="???", picture="${out}.png"))


def test_another_config_forgets_the_references_of_the_last_one():
    plain_values(config(name="${oc.env:MY_SECRET}"))
    values = plain_values(config(name="plain"))
    assert with_references(values) == {"name": "plain"}


@pytest.mark.parametrize("group", ["keypoints", "model", "loss", "decoder"])
@pytest.mark.parametrize("reference", ["${oc.env:MY_SECRET}", "${other}", "x-${oc.env:MY_SECRET}"])
def test_what_checkpoints_hold_can_t_refer_to_the_environment(group, reference):
    cfg = config(**{group: {"name": reference}, "other": "${oc.env:MY_SECRET}"})
    with pytest.raises(UserError, match=rf"^{group}\.name=.*part of every checkpoint"):
        remember_references(cfg)


def test_a_message_shows_the_reference_and_no_password():
    remember_references(config(storage="${oc.env:MY_SECRET}", data={"dir": "${oc.env:MY_SECRET}"}))
    assert masked("can't open hunter22 now") == "can't open ${oc.env:MY_SECRET} now"
    assert one_line(UserError("hunter22:\n  refused")) == "${oc.env:MY_SECRET}: refused"
    for url, shown in (
        ("postgresql://me:pa/s@s@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("mysql+driver://:pw@host", "mysql+driver://:***@host"),
        ("https://host/path:x", "https://host/path:x"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("me@host", "me@host"),
    ):
        assert masked(f"x {url} y") == f"x {shown} y"


def test_a_value_that_holds_another_one_is_masked_as_a_whole(monkeypatch):
    monkeypatch.setenv("MY_URL", "postgresql://me:hunter22@host/runs")
    remember_references(config(password="${oc.env:MY_SECRET}", storage="${oc.env:MY_URL}"))
    assert masked("no postgresql://me:hunter22@host/runs, hunter22") == "no ${oc.env:MY_URL}, ${oc.env:MY_SECRET}"


def test_logs_are_masked():
    remember_references(config(storage="${oc.env:MY_SECRET}"))
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s at %s", ("hunter22", "http://a:b@c"), None)
    assert MaskingFilter().filter(record)
    assert record.getMessage() == "${oc.env:MY_SECRET} at http://a:***@c"
    plain = logging.LogRecord("a", logging.INFO, "", 0, "%d %%", (3,), None)
    MaskingFilter().filter(plain)
    assert plain.getMessage() == "3 %"


def test_a_stored_file_may_refer_to_the_environment_in_its_paths_only():
    stored = {"data": {"dir": "${oc.env:MY_SECRET}/x"}, "lr": 1}
    assert resolve_stored_references(stored) == {"data": {"dir": "hunter22/x"}, "lr": 1}
    with pytest.raises(
        UserError, match=r"^logger\.project=\$\{oc.env:MY_SECRET\}: .* may not read; give logger.project="
    ):
        resolve_stored_references({"logger": {"project": "${oc.env:MY_SECRET}"}})
    with pytest.raises(UserError, match=r"^data\.dir=\$\{oc.env:NOT_SET\}: .*NOT_SET"):
        resolve_stored_references({"data": {"dir": "${oc.env:NOT_SET}"}})
    assert resolve_stored_references({"storage": "${oc.env:MY_SECRET}"}, ("storage",)) == {"storage": "hunter22"}


def test_a_resumed_run_keeps_the_references_of_its_config():
    remember_references(config(data={"dir": "${oc.env:MY_SECRET}"}, logger={"project": "${oc.env:MY_SECRET}"}))
    restore_references({"data": {"dir": "${oc.env:OTHER}"}}, ["logger"])
    written = with_references({"data": {"dir": "/abs"}, "logger": {"project": "hunter22"}})
    assert written == {"data": {"dir": "${oc.env:OTHER}"}, "logger": {"project": "${oc.env:MY_SECRET}"}}


def test_overrides_are_read_without_resolving_them():
    hydra = OmegaConf.create({"overrides": {"task": ["a=${oc.env:MY_SECRET}", "b=1"]}})
    assert command_line_overrides(hydra) == ["a=${oc.env:MY_SECRET}", "b=1"]
