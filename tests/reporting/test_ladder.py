"""The ladder: four steps in order, each in its folder, kept when it is started again."""

import json
import os

import pytest
import yaml

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.reporting.ladder import LadderSettings, ladder_table, run_ladder, step_folder, step_overrides
from tests.conftest import TINY, config_of

SMALL = [o for o in TINY if not o.startswith("model.")]


def settings_of(*overrides, **values):
    return parse(LadderSettings, {**config_of(*overrides, name="ladder"), **values})


def test_steps_three_and_four_start_from_the_one_before():
    settings = settings_of("fast=true", "root=there")
    steps = [step_overrides(settings, number) for number in (1, 2, 3, 4)]
    starts = [[o for o in step if o.startswith("init_from=")] for step in steps]
    assert starts == [[], [], ["init_from=there/2/checkpoints/best.ckpt"], ["init_from=there/3/checkpoints/best.ckpt"]]
    assert all("model=hourglass_small" in step for step in steps)
    assert [step[-1] for step in steps] == [f"out=there/{number}" for number in (1, 2, 3, 4)]


def test_a_slow_ladder_changes_nothing_but_what_is_given():
    assert step_overrides(settings_of("train=['seed=1']", "plugins=[mine]"), 1) == [
        "experiment=seed/1_sgd_complete",
        "plugins=[mine]",
        "seed=1",
        "out=outputs/ladder/1",
    ]


def test_it_trains_what_is_missing_and_keeps_what_is_there(tmp_path, monkeypatch, capsys, caplog, forked_commands):
    monkeypatch.chdir(tmp_path)
    more = ["trainer.max_epochs=1", "model.network.channels=8", "model.network.levels=1"]
    small = ",".join(f"'{override}'" for override in [*SMALL, *more])
    settings = settings_of("fast=true", "root=steps", f"train=[{small}]")
    settings = settings.replaced(ladder=settings.plain()["ladder"][1:3])
    metrics = run_ladder(settings)
    stamps = [(tmp_path / "steps" / n / "metrics.json").stat().st_mtime_ns for n in ("1", "2")]
    assert run_ladder(settings) == metrics
    assert [(tmp_path / "steps" / n / "metrics.json").stat().st_mtime_ns for n in ("1", "2")] == stamps
    assert "the settings are now" not in caplog.text
    run_ladder(settings.replaced(train=[*settings.train, "lr=0.5"]))
    assert caplog.text.count("the settings are now") == 2
    assert metrics[0]["rmse"] == json.loads((tmp_path / "steps" / "1" / "metrics.json").read_text())["rmse"]
    table = ladder_table(settings.ladder, metrics)
    assert [str(column.header) for column in table.columns][-1] == "leaderboard (other images)"
    assert list(table.columns[-1].cells)[:2] == ["2.92", "1.84"]
    assert "2_adam_complete" in capsys.readouterr().out


def test_a_step_that_continues_from_a_step_that_was_trained_again_is_named(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    settings = settings_of("root=steps")
    for number in (1, 2, 3, 4):
        folder = step_folder(settings, number)
        folder.checkpoints.mkdir(parents=True)
        folder.best_checkpoint.touch()
        folder.overrides.write_text(yaml.safe_dump(step_overrides(settings, number)))
        folder.metrics.write_text(json.dumps({"rmse": 2.0, "minutes": 1.0, "mean_face": {"rmse": 3.0}}))
        for file, time in ((folder.overrides, 100 * number), (folder.best_checkpoint, 100 * number + 50)):
            os.utime(file, (time, time))
    run_ladder(settings)
    assert not caplog.records
    for number in (1, 2):  # step 2 does not start from step 1
        os.utime(step_folder(settings, number).best_checkpoint, (900, 900))
    run_ladder(settings)
    (record,) = caplog.records
    assert record.message.startswith("steps/3: was trained before steps/2/checkpoints/best.ckpt was written")
    assert "remove their folders" in record.message


STEP = {"experiment": "seed/x", "fast_epochs": 1, "continues": False, "published": None}
MISTAKES = {
    "no step": ({"ladder": []}, r"ladder=\[\]: must have at least one entry"),
    "no epoch": ({"ladder": [{**STEP, "fast_epochs": 0}]}, r"ladder\.0\.fast_epochs=0: must be at least 1"),
    "an unknown key": (
        {"ladder": [{**STEP, "publish": 1}]},
        r"ladder\.0\.publish: unknown key; did you mean published",
    ),
    "overrides that are no list": ({"train": "lr=1"}, "train=lr=1: must be a list"),
    "a path to be quoted": ({"root": "a b"}, "root=a b: must be a path of letters"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_setting_that_is_not_valid_is_named(case):
    values, message = MISTAKES[case]
    with pytest.raises(UserError, match=message):
        settings_of(**values)
