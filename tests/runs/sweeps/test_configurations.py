"""Configurations of a sweep: how pruned repetitions count, and warnings of jobs that can't be compared."""

import pandas as pd
import pytest
import yaml

from facekp.runs.folder import RunStatus
from facekp.runs.sweep_folder import SweepFolder
from facekp.runs.sweeps.configurations import by_configuration, comparison_warnings
from facekp.runs.sweeps.finish import finish_sweep
from facekp.runs.sweeps.table import read_jobs

DATA = {"name": "folder", "size": 96, "channels": 1, "fold": 0}
DIGESTS = {"images": "a", "labels": "b"}


@pytest.fixture
def job(tmp_path):
    """Write a finished job; its name is made of the settings that differ."""

    def write(differs, rmse=2.0, *, overrides=(), data=None, digests=DIGESTS, rows=(1, 2), status="ok", **config):
        folder = SweepFolder(tmp_path).job("_".join(f"{key}-{value}" for key, value in differs.items()))
        folder.path.mkdir()
        folder.write_status(RunStatus(status, "", differs))
        folder.overrides.write_text(yaml.safe_dump(list(overrides)))
        given = {"seed": int(differs.get("seed", 0)), "lr": 1e-3, "out": str(folder), "model": {}, "keypoints": {}}
        folder.write_config({**given, "data": {**DATA, **(data or {})}, **config})
        folder.write_data(digests)
        sets = {row: "val" if row in rows else "train" for row in range(5)}
        pd.DataFrame(sets.items(), columns=["row", "set"]).to_csv(folder.split, index=False)
        folder.write_metrics({"rmse": rmse, "minutes": 1.0})
        return folder

    return write


@pytest.fixture
def warnings(tmp_path):
    def read():
        sweep = SweepFolder(tmp_path)
        return comparison_warnings(sweep, read_jobs(sweep, []))

    return read


def test_a_pruned_repetition_counts_with_its_rmse_and_is_not_missing(job, tmp_path, caplog):
    caplog.set_level("INFO")
    for seed, (rmse, status) in enumerate([(1.5, "ok"), (1.7, "ok"), (2.8, "pruned")]):
        job({"optimizer": "adam", "seed": str(seed)}, rmse, status=status, overrides=["optimizer=adam", f"seed={seed}"])
    for seed in range(3):
        job({"optimizer": "sgd", "seed": str(seed)}, 9.0)
    job({"optimizer": "lion", "seed": "0"}, 1.0)
    job({"optimizer": "lion", "seed": "1"}, 1.0, status="failed")
    sweep = SweepFolder(tmp_path)
    listed = by_configuration(read_jobs(sweep, []))
    assert listed["optimizer"].tolist() == ["adam", "sgd", "lion"]
    assert listed["rmse"].tolist() == pytest.approx([2.0, 9.0, 1.0])
    assert listed[["jobs", "pruned", "missing"]].to_numpy().tolist() == [[2, 1, 0], [3, 0, 0], [1, 0, 1]]
    finish_sweep(sweep, [])
    assert (
        "best: RMSE 2.000 ± 0.700 px, mean and standard deviation of 3 jobs that differ in seed (1 of them pruned)"
        in caplog.messages
    )
    assert "best: python -m facekp.train optimizer=adam" in caplog.messages


def test_without_a_finished_repetition_there_is_no_mean(job, tmp_path):
    job({"lr": "1", "seed": "0"}, 1.0, status="pruned")
    job({"lr": "2", "seed": "0"}, 3.0)
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert listed["lr"].tolist() == ["2", "1"]
    assert listed["rmse"].isna().tolist() == [False, True]


def test_a_repetition_pruned_before_its_first_rmse_is_missing(job, tmp_path):
    for seed in (0, 1):
        job({"lr": "1", "seed": str(seed)}, 2.0)
    job({"lr": "1", "seed": "2"}, status="pruned").metrics.unlink()
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert "pruned" not in listed
    assert listed[["jobs", "missing"]].to_numpy().tolist() == [[2, 1]]


def test_minutes_and_folder_are_those_of_finished_jobs(job, tmp_path):
    job({"lr": "1", "seed": "0"}, 2.0)
    job({"lr": "1", "seed": "1"}, 1.0, status="pruned").write_metrics({"rmse": 1.0, "minutes": 0.1})
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert listed["minutes"].tolist() == [1.0]
    assert listed["folder"].tolist() == ["lr-1_seed-0"]
    job({"lr": "2", "seed": "0"}, 1.0, status="pruned")
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert listed["folder"].fillna("none").tolist() == ["lr-1_seed-0", "none"]


def test_a_job_without_a_setting_that_others_have_is_a_configuration_too(job, tmp_path):
    job({"lr": "1"}, 2.0)
    job({"lr": "2", "decay": "3"}, 3.0)
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert listed["rmse"].tolist() == [2.0, 3.0]


def test_of_one_job_only_its_rmse_is_logged(job, tmp_path, caplog):
    caplog.set_level("INFO")
    job({"lr": "1", "seed": "0"}, 2.0)
    job({"lr": "2", "seed": "1"}, 3.0)
    finish_sweep(SweepFolder(tmp_path), [])
    assert [text for text in caplog.messages if text.startswith("best: RMSE")] == ["best: RMSE 2.000 px"]


def test_repetitions_of_other_settings_are_named(job, tmp_path, caplog):
    job({"seed": "0"}, lr=0.001)
    job({"seed": "1"}, lr=0.02)
    job({"seed": "2"}, lr=0.03)
    finish_sweep(SweepFolder(tmp_path), [])
    assert [text for text in caplog.messages if "repetitions" in text] == [
        "seed-0 and seed-1 count as repetitions of one configuration, but differ in lr (0.001, 0.02); "
        "train them again in a new sweep"
    ]


def test_a_setting_that_one_repetition_lacks_is_named(job, warnings):
    job({"seed": "0"}, 1.0)
    job({"seed": "1"}, 2.0, extra=5)
    assert "differ in extra (not given, 5);" in warnings()[0]


def test_of_many_settings_that_differ_three_are_named_and_the_others_counted(job, warnings):
    for seed in ("0", "1"):
        job({"seed": seed}, **dict.fromkeys("abcde", seed))
    assert "differ in a (0, 1), b (0, 1), c (0, 1), 2 more settings;" in warnings()[0]


def test_the_job_s_own_folder_in_a_setting_is_no_difference(job, warnings, tmp_path):
    for seed in ("0", "1"):
        job({"seed": seed}, cache=str(tmp_path / f"seed-{seed}" / "cache"))
    assert warnings() == []


def test_a_file_whose_content_only_one_repetition_recorded_is_no_difference(job, warnings):
    job({"seed": "0"})
    job({"seed": "1"}, digests={"images": "a"})
    assert warnings() == []


def test_repetitions_of_other_data_are_named(job, warnings):
    job({"seed": "0"}, 1.0)
    job({"seed": "1"}, 2.0, digests={"images": "c", "labels": "d"})
    (text,) = warnings()
    assert "seed-0 and seed-1 count as repetitions" in text
    assert "differ in the content of images and labels;" in text


def test_what_belongs_to_a_repetition_may_differ(job, warnings, tmp_path):
    for fold, name in enumerate(("fold${data.fold}.ckpt", r"fold$\{data.fold\}.ckpt")):  # of a search, of a sweep
        overrides = [f"data.fold={fold}", f"init_from={name}"]
        digests = {**DIGESTS, "init_from": str(fold)}
        config = {"init_from": f"fold{fold}.ckpt", "lr": 0.001 * (fold + 1), "logger": {"name": fold}}
        data = {"fold": fold, "dir": f"/{fold}"}
        written = job({"fold": str(fold)}, rows=[fold], data=data, overrides=overrides, digests=digests, **config)
        written.pictures.mkdir()
        written.rate_curve.touch()
    assert warnings() == []
    written.rate_curve.unlink()  # one of them was trained with a given rate
    assert "differ in lr (find, 0.002)" in warnings()[0]


def test_pixels_of_different_sizes_are_not_compared(job, warnings):
    for seed in (0, 1):
        job({"size": "64", "seed": str(seed)}, 1.0, data={"size": 64}, digests={"images": "c", "labels": "d"})
        job({"size": "96", "seed": str(seed)}, 2.0)
    assert warnings() == [
        "size-64_seed-0 and size-96_seed-0 differ in data.size (64, 96), so their RMSE in pixels can't be compared; "
        "compare NME"
    ]


def test_other_validation_rows_and_labels_are_not_compared(job, warnings):
    job({"rows": "4"}, 1.0)
    other = job({"rows": "5"}, 2.0, rows=(1, 2, 4), digests={"images": "c", "labels": "d"})
    assert warnings() == ["rows-4 and rows-5 have different validation rows (2 and 3), so their RMSE can't be compared"]
    other.split.write_text("row,set\n1,val\n2,val\n")
    assert warnings() == ["rows-4 and rows-5 have different images and labels, so their RMSE can't be compared"]


def test_folds_are_compared_with_the_same_fold_and_colour_with_grey(job, warnings):
    for fold in (0, 1):
        data = {"fold": fold}
        job({"channels": "1", "fold": str(fold)}, 1.0, rows=[fold], data=data)
        digests = {**DIGESTS, "images": "c"}
        job({"channels": "3", "fold": str(fold)}, 2.0, rows=[fold], data={**data, "channels": 3}, digests=digests)
    assert warnings() == []


def test_damaged_and_unfinished_jobs_are_left_out_of_warnings(job, warnings):
    job({"seed": "0"})
    job({"seed": "1"}, lr=1.0, status="failed")
    job({"seed": "2"}, lr=2.0).split.unlink()
    job({"seed": "3"}, lr=3.0).data.write_text("[")
    assert warnings() == []


def test_jobs_that_hold_out_other_subsets_are_repetitions(job, warnings, tmp_path):
    for person in ("ann", "bob"):
        job(
            {"held_out": f"{{person:{person}}}"},
            overrides=[f"data.held_out={{person:{person}}}"],
            data={"held_out": {"person": [person]}},
            rows=(1, 2) if person == "ann" else (3,),
        )
    listed = by_configuration(read_jobs(SweepFolder(tmp_path), []))
    assert listed[["jobs", "rmse"]].to_numpy().tolist() == [[2, 2.0]]
    assert warnings() == []
