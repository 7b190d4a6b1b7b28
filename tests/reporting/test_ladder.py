"""The ladder: four steps in order, each in its folder, kept when it is called again."""

import json

from facekp.ladder import run_ladder
from facekp.reporting.ladder import ladder_table, step_overrides
from tests.conftest import TINY, config_of

SMALL = [o for o in TINY if not o.startswith("model.")]


def test_steps_three_and_four_go_on_from_the_one_before():
    config = config_of("fast=true", "root=there", name="ladder")
    steps = [step_overrides(config, number) for number in (1, 2, 3, 4)]
    starts = [[o for o in step if o.startswith("init_from=")] for step in steps]
    assert starts == [[], [], ["init_from=there/2/checkpoints/best.ckpt"], ["init_from=there/3/checkpoints/best.ckpt"]]
    assert all("model=hourglass_small" in step for step in steps)


def test_it_trains_what_is_missing_and_keeps_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["trainer.max_epochs=1", "model.network.channels=8", "model.network.levels=1"]
    small = ",".join(f"'{override}'" for override in [*SMALL, *more])
    config = config_of("fast=true", "root=steps", f"train=[{small}]", name="ladder")
    config["ladder"] = config["ladder"][1:3]
    figures = run_ladder(config)
    stamps = [(tmp_path / "steps" / n / "metrics.json").stat().st_mtime_ns for n in ("1", "2")]
    assert run_ladder(config) == figures
    assert [(tmp_path / "steps" / n / "metrics.json").stat().st_mtime_ns for n in ("1", "2")] == stamps
    assert figures[0] == json.loads((tmp_path / "steps" / "1" / "metrics.json").read_text())
    table = ladder_table(config, figures)
    assert [str(column.header) for column in table.columns][-1] == "leaderboard (other images)"
    assert list(table.columns[-1].cells)[:2] == ["2.92", "1.84"]
