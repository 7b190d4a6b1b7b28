"""`tools/gpu_check.py` without a GPU: arguments, the record, a failing section among others, and each measure once."""

import json

import pytest
import torch
import yaml
from tools.gpu import accuracy, exactness
from tools.gpu.baseline import PlainFaces, plain_speed
from tools.gpu.plan import Plan
from tools.gpu.record import Record
from tools.gpu.speed import VARIANTS, Variant, _costs, _keep
from tools.gpu.training import Speed, measure_speed, train_settings

from facekp.core.settings import parse
from facekp.data.readers.read import read_table
from facekp.reporting.ladder import LadderSettings
from tests.conftest import config_of
from tools import gpu_check

CPU = torch.device("cpu")


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "runs").mkdir()
    return Plan(Record(tmp_path / "gpu.json", 8), CPU, None, True, tmp_path / "runs", None, 192.0)


def figures(plan):
    return {figure["name"]: figure["value"] for figure in plan.record.figures}


def test_arguments_have_defaults_and_unknown_ones_are_refused():
    assert gpu_check.arguments_of(["data=a=b", "minutes=3"]) == {**gpu_check.DEFAULTS, "data": "a=b", "minutes": "3"}
    with pytest.raises(SystemExit, match="minuts: unknown argument; give minutes=, sections=, device="):
        gpu_check.arguments_of(["minuts=3"])


def test_a_section_that_fails_is_one_line_and_the_others_follow(tmp_path, monkeypatch):
    def broken(plan):
        plan.record.add("a", "before the failure", 1.5, "s")
        raise RuntimeError("out of\nmemory")

    sections = (("a", broken), ("b", lambda plan: plan.record.add("b", "after it", 2.0, "s", "note")))
    monkeypatch.setattr(gpu_check, "SECTIONS", sections)
    out = tmp_path / "docs" / "gpu.json"
    arguments = gpu_check.arguments_of(["device=cpu", "toy=true", f"out={out}", "revision=abc"])
    record = gpu_check.check(arguments, tmp_path)
    written = json.loads(out.read_text())
    assert [figure["name"] for figure in written["figures"]] == ["before the failure", "after it"]
    assert written["figures"][1] == {"section": "b", "name": "after it", "value": 2.0, "unit": "s", "note": "note"}
    assert written["failures"] == [{"section": "a", "error": "RuntimeError: out of memory"}]
    assert {"device", "torch", "date", "revision"} <= written["about"].keys()
    assert written["about"]["revision"] == "abc"
    assert record.table().row_count == 3


@pytest.mark.parametrize(("sections", "ran", "seconds"), [("ladder", ["ladder"], 192), ("training", ["training"], 435)])
def test_sections_can_be_chosen_and_the_speed_gets_the_time_of_those_left_out(
    tmp_path, monkeypatch, sections, ran, seconds
):
    seen = []
    names = [name for name, _ in gpu_check.SECTIONS]
    monkeypatch.setattr(
        gpu_check, "SECTIONS", [(name, lambda plan, name=name: seen.append((name, plan))) for name in names]
    )
    arguments = gpu_check.arguments_of(
        [f"sections={sections}", "device=cpu", "toy=true", f"out={tmp_path / 'gpu.json'}"]
    )
    gpu_check.check(arguments, tmp_path)
    assert [name for name, _ in seen] == ran
    assert seen[0][1].seconds_for_speed == pytest.approx(seconds)


def test_an_unknown_section_is_refused(tmp_path):
    arguments = gpu_check.arguments_of(["sections=speed", "device=cpu", "toy=true", f"out={tmp_path / 'gpu.json'}"])
    with pytest.raises(SystemExit, match="sections=speed: there is machine, training"):
        gpu_check.check(arguments, tmp_path)


def test_without_data_only_the_toy_runs(tmp_path):
    with pytest.raises(SystemExit, match="data=: give the folder"):
        gpu_check.check(gpu_check.arguments_of(["device=cpu", f"out={tmp_path / 'a.json'}"]), tmp_path)


def test_every_way_to_train_is_one_that_the_settings_allow(plan):
    trainer = train_settings([*plan.base("published"), "trainer=gpu"]).trainer
    for variant in VARIANTS:
        values = {
            key.removeprefix("trainer."): yaml.safe_load(value) for key, _, value in map(split, variant.overrides)
        }
        assert trainer.replaced(**values) != trainer or not values


def split(override):
    return override.partition("=")


def test_training_steps_are_timed_and_end_the_training(plan):
    speed = measure_speed(plan.base("default"), plan.folder("run"), CPU, skip=1, seconds=0.05, inspect=True)
    assert speed.images == pytest.approx(4 / speed.step, rel=0.3)  # 4 images per batch
    assert speed.images > 0
    assert speed.waits is speed.busy is None  # of GPUs only
    assert not (plan.scratch / "run_0" / "checkpoints" / "best.ckpt").exists()


def test_the_plain_training_learns_the_same_maps_as_ours(plan):
    settings = train_settings([*plan.base("default"), "augment=none"])
    table = read_table(settings.data, settings.keypoints)
    faces = PlainFaces(table, table.keypoints.channels(True), 4, settings.model.sigma, moved=False)
    image, maps, mask = faces[0]
    assert torch.equal(image * 255, torch.from_numpy(table.images[0]).float()[None])
    assert maps.shape == (int(table.keypoints.channels(True).max()) + 1, 24, 24)
    assert mask.sum() == table.mask[0].sum()
    assert maps[mask].amax((1, 2)).min() > 0.8
    assert plain_speed(settings, table, CPU, workers=0, skip=1, seconds=0.01) > 0


def test_the_fraction_of_the_roofline_is_the_limit_over_the_measured_time(plan):
    overrides = plan.base("default")
    costs = _costs(train_settings(overrides))
    plan.rate, plan.bandwidth = 1e30, sum(cost.bytes for cost in costs)  # so the limit is a second
    speed = Speed(images=2.0, step=4.0, start=1.0, waits=3.0, busy=0.75)
    _keep(plan, "default", Variant("as it is", [], 0), speed, 0.5, overrides)
    found = figures(plan)
    assert found["default, as it is, fraction of the roofline"] == pytest.approx(25)
    assert found["default, as it is, against plain"] == 4
    assert found["default, as it is, GPU idle"] == pytest.approx(25)
    assert found["default, as it is, waits for the GPU per step"] == 3


@pytest.mark.parametrize(("needed", "allowed", "fraction"), [(100, 200, 1), (400, 100, 0.25), (400, -50, 0.05)])
def test_the_ladder_takes_the_published_epochs_if_they_fit(needed, allowed, fraction):
    assert accuracy.fraction_of_epochs(needed, allowed) == fraction


def test_steps_of_the_ladder_are_those_of_conf_on_this_device(plan):
    plan.fastest["published"] = ["trainer.compile=true"]
    ladder = accuracy._ladder(plan)
    assert ladder.ladder == parse(LadderSettings, config_of(name="ladder")).ladder
    overrides = accuracy.step_overrides(ladder, 3)
    assert {"trainer=cpu", "trainer.compile=true", "callbacks.save_every=20"} <= set(overrides)
    assert f"init_from={plan.scratch}/ladder/2/checkpoints/best.ckpt" in overrides
    settings = train_settings(accuracy._without_start(overrides))
    assert (settings.init_from, settings.trainer.compile, settings.callbacks.save_every) == (None, True, 20)


def test_a_resumed_training_is_compared_with_a_whole_one(plan, monkeypatch):
    monkeypatch.setattr(exactness, "EPOCHS", 2)
    monkeypatch.setattr(exactness, "STOPPED_AFTER", 1)
    exactness.check_resume(plan)
    assert figures(plan) == {"largest difference of a weight, as it is": 0.0}
    assert plan.record.failures == []
