"""Short names of runs leave out what does not tell runs apart, and stay unique."""

from facekp.reporting.html.names import brief_names


def briefs(*names):
    return list(brief_names(names).values())


def test_settings_that_all_jobs_of_a_sweep_have_are_left_out():
    jobs = [f"optimizer-adam_max_epochs-3_lr-{lr}_seed-0" for lr in ("1e-3", "2e-3")]
    assert briefs(*jobs) == ["lr-1e-3_seed-0", "lr-2e-3_seed-0"]


def test_a_value_with_an_underscore_keeps_its_key():
    names = ["model-hourglass_lr-1", "model-hourglass_small_lr-1"]
    assert briefs(*names) == names


def test_folders_are_left_out_where_the_rest_is_unique_and_says_something():
    names = ["sweeps/first/lr-1", "sweeps/first/lr-2", "sweeps/second/lr-2", "2026-01-31/12-00-00", "mine"]
    assert briefs(*names) == ["lr-1", "first/lr-2", "second/lr-2", "2026-01-31/12-00-00", "mine"]


def test_names_stay_unique_and_a_single_run_keeps_its_name():
    assert briefs("a/x-1_lr-1", "a/x-1_lr-2", "lr-1") == ["x-1_lr-1", "lr-2", "lr-1"]
    assert briefs("optimizer-adam_lr-1") == ["optimizer-adam_lr-1"]
    assert briefs("2026-01-31_12-00-00", "2026-01-31_12-10-00") == ["2026-01-31_12-00-00", "2026-01-31_12-10-00"]
