"""The benchmark, at its smallest, measures everything that it names."""

import json

import pytest
import torch

from facekp.bench import main
from facekp.core.errors import UserError
from facekp.reporting.bench import growth, reading, report, run, sweep, training
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.bench.measurement import Growth, Measurement
from facekp.reporting.bench.step_timer import StepTimer
from facekp.reporting.html.collect import read_runs
from tests.conftest import composed
from tests.reporting.bench.conftest import SMALL, bench_settings


def measure(section, tmp_path, *overrides):
    found = list(run.MEASURE[section](bench_settings(*overrides), tmp_path))
    return {each.name: each for each in found}


@pytest.mark.slow
def test_reading_is_faster_than_row_by_row(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "DRAWN", 60)
    found = measure("reading", tmp_path, f"data.dir={tmp_path}")
    assert found["read training.csv, 60 rows"].times_as_fast > 1
    assert found["  from the cache"].value < found["  from the cache"].baseline


def test_splitting_and_steps_are_measured_beside_plain_loops(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "GROUPED", 40)
    found = {**measure("splitting", tmp_path), **measure("steps", tmp_path)}
    assert list(found) == [
        "group near-duplicates of 40 images",
        *(f"{s} 32 faces" for s in ("augment", "encode", "decode")),
    ]
    assert all(each.value > 0 and each.baseline > 0 for each in found.values())


def test_training_steps_are_those_of_the_command_and_of_a_plain_loop(tmp_path, monkeypatch):
    times = {training.plain_step_times: [0.8], training._published_steps: (1.0, [2.0])}
    cost = training.StepCost(seconds=[0.1, 0.3, 0.2], outside=0.25)
    monkeypatch.setattr(training, "train_step_cost", lambda overrides, *given: cost)
    monkeypatch.setattr(training, "in_new_process", lambda task, *given: times[task])
    monkeypatch.setattr(training, "step_limit", lambda *given: 0.05)
    monkeypatch.setattr(training, "fastest_precision", lambda accelerator: "32-true")
    first, outside, second, difference = measure("training", tmp_path, "train=['trainer.compile=true']").values()
    assert first.name == "training step of 32 faces, facekp.train trainer.compile=true"
    assert (first.value, first.baseline, first.times_as_fast) == (200.0, 800.0, 4.0)
    assert (first.of_limit, outside.value) == (0.25, 25.0)
    assert (second.value, second.baseline, difference.value) == (2.0, 2.0, 0.0)


@pytest.mark.parametrize(
    ("precision", "train", "is_measured"),
    [("bf16-mixed", [], True), ("32-true", [], False), ("bf16-mixed", ["trainer.precision=32-true"], False)],
)
def test_steps_in_bfloat16_are_measured_where_the_processor_has_instructions_for_it(
    tmp_path, monkeypatch, precision, train, is_measured
):
    def cost(overrides, *given):
        return training.StepCost([0.1 if training.AUTO_PRECISION in overrides else 0.2], 0.25)

    monkeypatch.setattr(training, "train_step_cost", cost)
    monkeypatch.setattr(training, "in_new_process", lambda task, *given: [0.4])
    monkeypatch.setattr(training, "step_limit", lambda *given: 0.05)
    monkeypatch.setattr(training, "_measure_published", lambda settings: iter(()))
    monkeypatch.setattr(training, "fastest_precision", lambda accelerator: precision)
    found = measure("training", tmp_path, f"train={train}")
    rows = [each.times_as_fast for name, each in found.items() if training.AUTO_PRECISION in name]
    assert rows == ([4.0] if is_measured else [])


def test_the_limit_of_a_step_is_that_of_its_convolutions(monkeypatch):
    monkeypatch.setattr(training, "convolution_rate", lambda *given: 1e9)
    monkeypatch.setattr(training, "copy_bandwidth", lambda *given: 1e15)
    settings = bench_settings("model.network.stacks=1")
    once = training.step_limit(settings.model, settings.keypoints, 1)
    monkeypatch.setattr(training, "convolution_rate", lambda *given: 2e9)
    assert training.step_limit(settings.model, settings.keypoints, 1) == pytest.approx(once / 2)
    assert 0.5 < once < 5  # about a billion operations, forward and back


def test_a_training_that_fails_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^train=\['data.rws=1'\]: facekp: error: .*rws"):
        training.train_step_cost(["data.rws=1"], 1, 1, tmp_path / "run")


def test_the_timer_writes_what_steps_cost_and_ends_the_process(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    timer = StepTimer(str(tmp_path / "cost.json"), steps=2, profiled=1)
    layer, images = torch.nn.Conv2d(8, 8, 3), torch.rand(32, 8, 96, 96)
    for _ in range(4):
        assert not ended
        layer(images)
        timer.on_train_batch_end(None, None, None, None, 0)
    assert ended == [0]
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert len(cost["seconds"]) == 2
    assert 0 < cost["outside"] < 0.9


def test_a_job_s_cost_is_what_it_adds_to_a_sweep(tmp_path, monkeypatch):
    times = iter([10.0, 26.0, 8.0, 1.0])
    monkeypatch.setattr(sweep, "_train", lambda arguments: None)
    monkeypatch.setattr(sweep, "seconds", lambda task: next(times))
    job, again = measure("sweep", tmp_path).values()
    assert (job.value, job.baseline, again.value, again.baseline) == (2.0, 8.0, 1.0, 26.0)


def test_growth_follows_every_size(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "ROWS", (10, 20, 5000))
    monkeypatch.setattr(growth, "RUNS", (2, 5000))
    monkeypatch.setattr(growth, "BATCH_SIZE", 2)
    monkeypatch.setattr(growth, "_network_step", lambda network, batch, size: lambda: None)
    monkeypatch.setattr(report, "HELD_OUT", 20)
    found = list(run.MEASURE["growth"](bench_settings("largest=1000"), tmp_path))
    sizes = [(each.size, list(each.sizes)) for each in found]
    assert sizes == [
        ("batch", [1, 4, 16, 64]),
        ("image side, pixels", [48, 96, 192]),
        ("channels", [16, 32, 64, 128]),
        ("stacks", [1, 2, 4]),
        ("points", [5, 15, 68, 500]),
        ("rows", [10, 20]),
        ("rows", [10, 20]),
        ("runs", [2]),
        ("runs", [2]),
    ]
    assert all(min(each.costs) > 0 for each in found[5:])


def test_a_network_step_trains(monkeypatch):
    network = {"name": "hourglass", "stride": 4, "channels": 8, "levels": 1, "stacks": 2, "block": "basic"}
    built = []
    monkeypatch.setattr(growth, "optimize_for_cpu", built.append)
    step = growth._network_step(network, 2, 48)
    before = [weight.clone() for weight in built[0].parameters()]
    step()
    assert any(not torch.equal(a, b) for a, b in zip(before, built[0].parameters(), strict=True))


def test_results_are_shown_written_and_compared(tmp_path, monkeypatch, capsys):
    growing = Growth("step", "batch", [1, 4], [0.5, 1.5], "ms")
    for name in run.MEASURE:
        monkeypatch.setitem(run.MEASURE, name, lambda settings, scratch: [])
    monkeypatch.setitem(run.MEASURE, "steps", lambda settings, scratch: [Measurement("encode", 2.0, "ms"), growing])
    first = main(composed(*SMALL, "only=[steps]", f"out={tmp_path / 'a.json'}", name="bench"))
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["measurements"] == [{"name": "encode", "value": 2.0, "unit": "ms"}]
    assert written["growth"] == [{"name": "step", "size": "batch", "sizes": [1, 4], "costs": [0.5, 1.5], "unit": "ms"}]
    assert written["machine"] == first.machine
    assert first.machine["threads"] == 1
    monkeypatch.setitem(run.MEASURE, "steps", lambda settings, scratch: [Measurement("encode", 6.0, "ms")])
    capsys.readouterr()
    main(composed(*SMALL, f"compare={tmp_path / 'a.json'}", name="bench"))
    assert "3.00 times as slow" in capsys.readouterr().out


def test_example_runs_are_runs_that_improve_every_third(tmp_path, faces, example_config):
    write_example_runs(tmp_path, 4, faces, example_config)
    runs, skipped = read_runs([tmp_path])
    assert not skipped
    assert runs[0].name == "run003"
    assert [(run.compared["lr"], run.compared["seed"]) for run in sorted(runs, key=lambda run: run.name)] == [
        (0.001, 0),
        (0.001, 1),
        (0.001, 2),
        (0.002, 0),
    ]


def test_settings_are_checked():
    with pytest.raises(UserError, match="rounds=0: must be at least 1"):
        bench_settings("rounds=0")
    with pytest.raises(UserError, match=r"only=\[\]: must have at least one entry"):
        bench_settings("only=[]")
    assert bench_settings("ckpt=[a.ckpt,b.onnx]").checkpoints == ["a.ckpt", "b.onnx"]
    assert bench_settings().checkpoints == ["shipped"]
    assert bench_settings("only=[growth,steps]").sections == ("steps", "growth")
