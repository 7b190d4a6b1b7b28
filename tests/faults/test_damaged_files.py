"""A campaign of damaged files: flipped bits in checkpoints and exports, files of runs and sweeps of any content.

Every case has a number, which is its seed. ``FACEKP_FAULTS=N`` runs N cases of each kind; by default a few.
"""

import json
import os
import random
import re
import shutil
import time

import pandas as pd
import pytest
import torch
import yaml

from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint, read_tensors
from facekp.models.onnx_model import load_onnx
from facekp.models.packaged import PACKAGED
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.overview import runs_page
from facekp.runs.folder import RunFolder
from facekp.runs.lookup import checkpoint_files, newest_run
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.table import read_jobs, sweep_table
from facekp.training.resume import checkpoint_to_resume
from tests.small_onnx import write_small_onnx

CASES = int(os.environ.get("FACEKP_FAULTS", "0"))
MAX_SECONDS = 10.0  # CPU seconds of one case


def seeds(default):
    """Numbers of the cases of a kind."""
    return range(CASES or default)


def flipped(path, target, seed):
    """A copy of a file with one bit flipped."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    target.write_bytes(content)
    return target


def equal(left, right):
    """Whether two contents of checkpoints are the same to the bit."""
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def check_error(error, *names):
    """An error must be one line that names the file."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 600
    assert any(name in text for name in names), text


def check_read(read, *names):
    """Reading a file must work, or fail with one line that names it."""
    try:
        read()
    except UserError as error:
        refusal = error
    else:
        return
    check_error(refusal, *names)


# Flipped bits


def is_equal(first, second):
    """Whether nested mappings and lists of tensors and plain values are equal."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first.nan_to_num(), second.nan_to_num())
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(is_equal, first, second))
    return repr(first) == repr(second)


@pytest.mark.parametrize("seed", seeds(60))
def test_a_flipped_bit_in_the_shipped_checkpoint_is_refused_or_changes_nothing(seed, tmp_path):
    path = flipped(PACKAGED["shipped"], tmp_path / "flipped.ckpt", seed)
    try:
        tensors = load_checkpoint(path).model.state_dict()
    except UserError as error:
        refusal = error
    else:  # a bit of padding or of a date
        expected = load_checkpoint(PACKAGED["shipped"]).model.state_dict()
        assert all(torch.equal(tensors[name], expected[name]) for name in expected)
        return
    assert re.search(r"is damaged|not a checkpoint", str(refusal))
    check_error(refusal, "flipped.ckpt")


@pytest.fixture(scope="session")
def exported(tmp_path_factory, ckpt):
    return write_small_onnx(tmp_path_factory.mktemp("onnx") / "small.onnx", ckpt)


@pytest.mark.parametrize("seed", seeds(20))
def test_a_flipped_bit_in_an_exported_file_is_refused(seed, exported, tmp_path):
    with pytest.raises(UserError) as error:
        load_onnx(flipped(exported, tmp_path / "flipped.onnx", seed))
    check_error(error.value, "flipped.onnx")


@pytest.mark.parametrize("seed", seeds(20))
def test_a_run_is_not_resumed_from_a_checkpoint_with_a_flipped_bit_that_matters(seed, tiny_run, tmp_path):
    run = RunFolder(shutil.copytree(tiny_run, tmp_path / "run"))
    whole = read_tensors(run.last_checkpoint)
    flipped(run.last_checkpoint, run.last_checkpoint, seed)
    try:
        checkpoint_to_resume(run, run.read_split(), {}, max_epochs=100)
    except UserError as error:
        refusal = error
    else:  # a bit of padding or of a date
        assert is_equal(read_tensors(run.last_checkpoint), whole)
        return
    assert re.search(r"start a new run with out=DIR init_from=.*best\.ckpt", str(refusal))
    check_error(refusal, "last.ckpt")


# Files of runs and sweeps

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
CONTENTS = (
    *(
        b"",
        b"\0" * 500,
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"{}",
        b"1",
        b'"text"',
        b"[[[1]]]",
        b"- a\n- b\n",
        b"a,b\n1,2\n",
    ),
    *(b"[" * 50_000, b'{"a":' * 50_000, b"- " * 5000, b"1" * 9999, b"NaN", b"1e999", b"true", BOMB.encode()),
    *(
        b"row,source,keypoint,true_x,true_y,x,y,error\n" + b"9" * 400,
        b"epoch,step\nx,y\n",
        b"epoch\n1e300\n",
        b"&a [*a]",
    ),
)
VALUES = (
    *(None, True, -1, 0, 10**400, 1e308, -1e308, float("nan"), float("inf"), "", "text", "7", "9" * 5000, [], {}, [[]]),
    *({"a": {"b": None}}, ["x"] * 50, {"name": []}, [{"name": {}}], "\x00", "${oc.env:HOME}", "../..", {"": ""}),
)


def damage(path, chance):
    """Damage one file in a way that is drawn."""
    kind = chance.choice(["content", "cut", "flip", "value", "value", "value", "folder", "pipe", "removed"])
    content = path.read_bytes()
    if kind == "content":
        path.write_bytes(chance.choice(CONTENTS))
    elif kind == "cut":
        path.write_bytes(content[: chance.randrange(len(content))])
    elif kind == "flip":
        flipped(path, path, chance.random())
    elif kind == "value" and path.suffix in (".json", ".yaml"):
        change_a_value(path, chance)
    elif kind == "value":
        change_a_cell(path, chance)
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
    return kind


def change_a_value(path, chance):
    """Replace a value at any depth of a JSON or YAML file, or add a key."""
    is_json = path.suffix == ".json"
    values = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
    group = values
    while True:
        keys = list(group) if isinstance(group, dict) else list(range(len(group)))
        key = chance.choice([*keys, "new"]) if isinstance(group, dict) or not keys else chance.choice(keys)
        inner = group[key] if key in keys else None
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.7:
            group = inner
            continue
        if isinstance(group, dict) or keys:
            group[key] = chance.choice(VALUES)
        break
    path.write_text(json.dumps(values) if is_json else yaml.safe_dump(values))


def change_a_cell(path, chance):
    """Replace a cell of a CSV file, or a line of a text."""
    lines = path.read_text().splitlines()
    row = chance.randrange(len(lines))
    cells = lines[row].split(",")
    cells[chance.randrange(len(cells))] = str(chance.choice(VALUES))
    lines[row] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


FILES = ("config.yaml", "overrides.yaml", "git.txt", "environment.yaml", "data.yaml", "split.csv", "metrics.csv")
RESULTS = (
    "metrics.json",
    "predictions.csv",
    "status.json",
    "reliability.json",
    "corruptions.csv",
    "corrupted_reliability.json",
    "wandb.yaml",
)


@pytest.fixture(scope="session")
def whole_run(tiny_run, tmp_path_factory):
    """A run with every file that a run can have, without its pictures."""
    root = tmp_path_factory.mktemp("whole") / "run"
    run = RunFolder(shutil.copytree(tiny_run, root, ignore=shutil.ignore_patterns("pictures")))
    run.status.write_text('{"status": "ok", "message": "", "differs": {"lr": "1"}}')
    run.write_reliability({"points": 9, "expected": [1.0, 2.0], "measured": [1.5, 2.5]})
    rows = [("none", 0.0, 1.5, 1.0), ("noise", 10.0, 2.5, 2.0)]
    corruptions = pd.DataFrame(rows, columns=["corruption", "strength", "rmse", "rmse/trimmed"])
    run.write_corruptions(corruptions, {"points": 9, "expected": [1.0, 2.0], "measured": [1.5, 2.5]})
    run.write_wandb_identity({"id": "a", "group": None})
    return run.path


@pytest.mark.parametrize("seed", seeds(80))
def test_every_file_of_a_run_is_read_or_refused_in_one_line(seed, whole_run, tmp_path):
    run, chance = RunFolder(shutil.copytree(whole_run, tmp_path / "run")), random.Random(seed)
    name = chance.choice([*FILES, *RESULTS])
    damage(run.path / name, chance)
    readers = {
        "config.yaml": (run.read_config,),
        "overrides.yaml": (run.read_overrides,),
        "git.txt": (run.read_revision,),
        "environment.yaml": (run.read_environment,),
        "data.yaml": (run.read_data,),
        "split.csv": (run.read_split,),
        "metrics.csv": (run.read_curves, run.minutes, run.completed_epochs),
        "metrics.json": (run.read_metrics, run.is_finished, run.minutes, run.completed_epochs),
        "predictions.csv": (run.read_predictions,),
        "status.json": (run.read_status, run.known_status),
        "reliability.json": (run.read_reliability,),
        "corruptions.csv": (run.read_corruptions,),
        "corrupted_reliability.json": (run.read_corrupted_reliability,),
        "wandb.yaml": (run.read_wandb_identity,),
    }[name]
    started = time.process_time()
    for read in readers:
        check_read(read, name)
    assert time.process_time() - started < MAX_SECONDS


@pytest.mark.parametrize("seed", seeds(30))
def test_a_damaged_run_ends_no_report_of_others(seed, whole_run, tmp_path):
    chance = random.Random(seed)
    good, bad = (RunFolder(shutil.copytree(whole_run, tmp_path / name)) for name in ("good", "bad"))
    for name in chance.sample([*FILES, *RESULTS], chance.choice([1, 1, 2])):
        damage(bad.path / name, chance)
    started = time.process_time()
    runs, skipped = read_runs([tmp_path])
    assert "good" in [run.name for run in runs]
    assert len(runs) + len(skipped) == 2 or not (bad.config.is_file() or bad.metrics.is_file())
    sections, _ = runs_page(runs, skipped, faces=2, resamples=10)
    assert json.dumps(sections, default=str)
    assert newest_run(tmp_path) is not None
    assert time.process_time() - started < MAX_SECONDS
    assert good.is_finished()


@pytest.mark.parametrize("seed", seeds(30))
def test_a_damaged_job_ends_no_sweep(seed, whole_run, tmp_path):
    sweep, chance = SweepFolder(tmp_path / "sweep"), random.Random(seed)
    good, bad = (RunFolder(shutil.copytree(whole_run, sweep.path / name)) for name in ("good", "bad"))
    sweep.write_settings(["lr=1,2"], None)
    damage(bad.path / chance.choice(["status.json", "status.json", "metrics.json", "overrides.yaml"]), chance)
    jobs = read_jobs(sweep, ["dense", "sparse"])
    assert "ok" in jobs.loc[jobs["folder"] == "good", "status"].tolist()
    sweep_table(jobs, "sweep")
    assert str(good.best_checkpoint) in checkpoint_files(str(sweep))


@pytest.mark.parametrize("seed", seeds(30))
def test_a_damaged_sweep_is_read_or_refused_in_one_line(seed, tmp_path):
    sweep, chance = SweepFolder(tmp_path), random.Random(seed)
    search = {"name": "optuna", "trials": 4, "parallel": None, "seed": 0, "random": 10, "storage": None}
    search["prune"] = {"percentile": 50.0, "trials": 2, "epochs": 2}
    sweep.settings.write_text(yaml.safe_dump({"overrides": ["lr=1,2", "seed=0"], "search": search}))
    damage(sweep.settings, chance)
    for read in (sweep.read_overrides, sweep.read_search):
        check_read(read, "sweep.yaml", "hparams_search")


@pytest.mark.parametrize("seed", seeds(30))
def test_a_damaged_journal_of_a_search_is_read_or_refused_in_one_line(seed, tmp_path):
    from facekp.runs.searches.study import open_study
    from facekp.runs.settings import parse_search

    search = {"name": "optuna", "trials": 4, "parallel": None, "seed": 0, "random": 10, "storage": None}
    settings = parse_search({**search, "prune": {"percentile": 50.0, "trials": 2, "epochs": 2}})
    sweep, chance = SweepFolder(tmp_path / "sweep"), random.Random(seed)
    sweep.path.mkdir()
    study = open_study(sweep, settings)
    study.tell(study.ask(), 1.5)
    study.ask()
    lines = sweep.journal.read_text().splitlines()
    row = chance.randrange(len(lines))
    cut = lines[row][: chance.randrange(len(lines[row]))]
    lines[row] = chance.choice([cut, "", "[]", "1", "null", "[" * 50_000, "\0", '{"op_code": 99}', '{"op_code": 4}'])
    sweep.journal.write_text("\n".join(lines) + "\n")
    check_read(lambda: open_study(sweep, settings).get_trials(), "study.log")


# Values inside of checkpoints


def change_inside(values, chance):
    """Replace a value at any depth of nested mappings and lists, in place."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        key = chance.choice(keys)
        if isinstance(values[key], (dict, list)) and values[key] and chance.random() < 0.8:
            values = values[key]
            continue
        values[key] = chance.choice([*VALUES, torch.tensor(torch.nan), torch.zeros(0), torch.ones(1).expand(3, 4)])
        return


@pytest.mark.parametrize("seed", seeds(40))
def test_a_checkpoint_of_other_values_is_read_or_refused_in_one_line(seed, ckpt, tmp_path):
    raw, chance = torch.load(ckpt, weights_only=True), random.Random(seed)
    change_inside(raw if chance.random() < 0.3 else raw["facekp"], chance)
    torch.save(raw, tmp_path / "changed.ckpt")

    def load():
        model = load_checkpoint(tmp_path / "changed.ckpt").model
        assert all(value.isfinite().all() for value in model.state_dict().values())

    check_read(load, "changed.ckpt")
