"""Points and sources with few labels or none: trained, scored as far as possible, and said in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.readers.read import read_table
from facekp.data.split import inseparable_groups, split_folds
from facekp.models.checkpoint import load_checkpoint
from facekp.reporting.html.collect import read_runs
from facekp.reporting.html.labels import data_page
from facekp.reporting.html.overview import runs_page
from facekp.runs.comparable import last_comparable_run
from facekp.runs.folder import RunFolder
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.finish import finish_sweep
from facekp.training.loggers.sample_faces import sample_faces
from facekp.training.setup import train
from tests.conftest import TINY, settings_of

FAST = (*TINY, "trainer.max_epochs=1", "callbacks.pictures=3")
UNSCORED = "nothing is scored, and best.ckpt is that of the last epoch"


@pytest.fixture(scope="module")
def settings():
    return settings_of(*FAST)


@pytest.fixture(scope="module")
def table(settings):
    return read_table(settings.data, settings.keypoints)


@pytest.fixture(scope="module")
def held_out(table, settings):
    """bool (N,): the rows of fold 0."""
    return split_folds(table, inseparable_groups(table), settings.data) == 0


def without(table, rows, points=slice(None)):
    """The table without these labels."""
    changed = table.points.copy()
    changed[np.ix_(rows, np.arange(15)[points])] = np.nan
    return replace(table, points=changed)


def nose(table):
    return table.keypoints.names.index("nose_tip")


def in_one_validation_face(table, held_out):
    others = np.flatnonzero(~held_out | (np.cumsum(held_out) > 1))
    return without(table, others, [nose(table)])


def in_no_validation_face(table, held_out):
    return without(table, np.flatnonzero(held_out), [nose(table)])


def nowhere(table, held_out):
    return without(table, np.arange(len(table)), [nose(table)])


def source_only_in_training(table, held_out):
    return without(table, np.flatnonzero(held_out & (table.source == 1)))


def five_rows(table, held_out):
    labelled = [*np.flatnonzero(held_out)[:2], *np.flatnonzero(~held_out)[:3]]
    return without(table, np.setdiff1d(np.arange(len(table)), labelled))


def five_training_rows(table, held_out):
    return without(table, np.setdiff1d(np.arange(len(table)), np.flatnonzero(~held_out)[:5]))


def one_row(table, held_out):
    return table.take(np.array([3]))


def one_image(table, held_out):
    return replace(table, images=np.repeat(table.images[:1], len(table), axis=0))


ROWS = [
    (in_one_validation_face, "no training row has a label of nose_tip by source dense"),
    (in_no_validation_face, "no validation row has a label of nose_tip by source dense, nose_tip by source sparse, so"),
    pytest.param(nowhere, "no training row has a label of nose_tip by source dense", marks=pytest.mark.slow),
    (source_only_in_training, "no validation row has a label of all points by source sparse, so they are not scored"),
    (five_rows, "no training row has a label of all points by source dense"),
    pytest.param(five_training_rows, f"no validation row (of 12) has a label: {UNSCORED}", marks=pytest.mark.slow),
    (one_row, f"no validation row (of 0) has a label: {UNSCORED}"),
    (one_image, f"no validation row (of 0) has a label: {UNSCORED}"),
]


def strict_json(path):
    def refuse(text):
        raise AssertionError(f"{path} holds {text}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(("change", "message"), ROWS)
def test_rare_labels_train_and_are_scored_as_far_as_they_go(
    change, message, table, held_out, settings, tmp_path, monkeypatch, caplog, recwarn
):
    few = change(table, held_out)
    monkeypatch.setattr("facekp.training.setup.read_table", lambda *args: few)
    run = RunFolder(tmp_path / "runs" / "one")
    metrics = train(settings, run.path)
    assert sum(message in record.getMessage() for record in caplog.records) == 1, caplog.text
    assert not [str(warning.message) for warning in recwarn if issubclass(warning.category, RuntimeWarning)]

    # the run's files
    assert strict_json(run.metrics) == metrics
    numbers = [value for value in metrics.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    scored = UNSCORED not in message
    assert ("rmse" in metrics) == ("rmse" in metrics["mean_face"]) == scored
    assert load_checkpoint(run.best_checkpoint).model.keypoints == table.keypoints
    assert len(run.read_predictions()) == metrics["labelled_values"] / 2
    assert (run.pictures / "curves.png").is_file()
    assert last_comparable_run(run) is None

    # what reads them
    if scored:
        runs, skipped = read_runs([tmp_path / "runs"])
        sections, _ = runs_page(runs, skipped, 2, 20)
        assert sections
    else:
        with pytest.raises(UserError, match="has no RMSE, as no labelled point could be scored"):
            read_runs([tmp_path / "runs"])


@pytest.mark.parametrize(("change", "message"), ROWS)
def test_the_data_page_shows_rare_labels(change, message, table, held_out, settings):
    few = change(table, held_out)
    sections, _ = data_page(few, settings.data, [], 2)
    assert sections


def test_early_stopping_and_the_progress_of_a_run_without_scores(table, held_out, tmp_path, monkeypatch):
    few = five_training_rows(table, held_out)
    monkeypatch.setattr("facekp.training.setup.read_table", lambda *args: few)
    settings = settings_of(*FAST, "trainer.max_epochs=2", "callbacks.patience=1", "callbacks.pictures=0")
    metrics = train(settings, tmp_path / "run")
    assert (metrics["epochs"], metrics["best_epoch"]) == (2, None)
    assert "val/rmse" not in RunFolder(tmp_path / "run").read_curves()


def test_a_shortened_validation_without_a_label_ends_no_training(table, held_out, tmp_path, monkeypatch):
    few = without(table, np.flatnonzero(held_out)[:4])
    monkeypatch.setattr("facekp.training.setup.read_table", lambda *args: few)
    given = ["data.batch_size=4", "trainer.limit_val_batches=1", "callbacks.patience=1", "callbacks.pictures=0"]
    metrics = train(settings_of(*FAST, *given), tmp_path / "run")
    assert metrics["epochs"] == 1
    assert metrics["rmse"] > 0  # of all validation rows, by the last epoch's network
    assert "val/rmse" not in RunFolder(tmp_path / "run").read_curves()


def test_sample_faces_without_a_label_have_no_rmse(table, held_out, model_of_run):
    few = five_training_rows(table, held_out).take(np.flatnonzero(held_out))
    faces = sample_faces(model_of_run, few, np.zeros((len(few), 15, 2), np.float32), 2)
    assert [face.rmse for face in faces] == [None, None]
    assert sample_faces(model_of_run, few.take(np.arange(0)), np.zeros((0, 15, 2), np.float32), 2) == []


@pytest.fixture
def model_of_run(ckpt):
    return load_checkpoint(ckpt).model


def test_a_sweep_of_jobs_without_scores_ends_with_its_table(tmp_path, table, caplog):
    folder = SweepFolder(str(tmp_path))
    for name in ("seed-0", "seed-1"):
        job = folder.job(name)
        job.path.mkdir()
        job.metrics.write_text(json.dumps({"labelled_values": 0, "mean_face": {}}))
        job.status.write_text(json.dumps({"status": "ok", "message": "", "differs": {"seed": name[-1]}}))
    assert finish_sweep(folder, table.keypoints.source_names)
    assert "best:" not in caplog.text
