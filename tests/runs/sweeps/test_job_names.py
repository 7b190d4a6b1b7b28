"""Jobs are named by the settings that differ between them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from facekp.core.errors import UserError
from facekp.core.settings import NewPath, Settings, parse
from facekp.runs.sweeps.job_names import MAX_NAME_LENGTH, constant_keys, differing, job_name


class Named(Settings):
    out: NewPath


NAMES = {
    "settings that differ, in the order given": (
        ["optimizer=sgd", "data=kaggle", "lr=0.001", "subset=full"],
        "optimizer-sgd_lr-1e-3_subset-full",
    ),
    "rates as people write them": (["lr=0.0005", "data.fold=0"], "lr-5e-4_fold-0"),
    "very small and not so small": (["lr=1.5e-05", "loss.weight=0.01"], "lr-1.5e-5_weight-0.01"),
    "two keys with the same last part": (
        ["augment.scale=0.1", "decoder.scale=0.2"],
        "augment.scale-0.1_decoder.scale-0.2",
    ),
    "a last part that is a key itself": (["data.seed=1"], "data.seed-1"),
    "a list": (["model.network.channels=[64,96]"], "channels-64-96"),
    "a path in a group": (["experiment=seed/1_sgd_complete"], "experiment-seed-1_sgd_complete"),
    "quotes and blanks": (["+note='a b, c'"], "note-a-b-c"),
    "a negative number": (["+shift=-1"], "shift--1"),
    "nothing": (["data=kaggle"], "run"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_job_is_named_by_the_settings_that_differ(case, tmp_path):
    overrides, name = NAMES[case]
    assert job_name(differing(overrides, ["data"], ["seed", "lr", "data"])) == name
    assert parse(Named, {"out": f"outputs/sweeps/{name}"}).out.endswith(name)  # can be pasted into ckpt=


def test_long_names_fit_a_file_system_and_stay_different():
    long = [job_name({"ckpt": "a" * 300 + end}) for end in "xy"]
    assert len(set(long)) == 2
    assert all(len(name) <= MAX_NAME_LENGTH for name in long)


def test_hydra_gives_a_job_the_folder_of_that_name(job):
    cfg = job("optimizer=sgd", "lr=0.001", "data.fold=1", shared=("out", "optimizer"))
    assert cfg.hydra.sweep.subdir == "lr-1e-3_fold-1"


def test_the_progress_bar_can_be_swept(job):
    cfg = job("callbacks.progress=false", shared=None)
    assert cfg.hydra.sweep.subdir == "progress-false"


def test_constant_keys_are_those_with_one_value():
    given = ["a=1,2", "b=1", "c=1", "c=1,2", "d=choice(1)", "e=interval(0,1)", "f=range(1,3)", "+g.h=x"]
    assert constant_keys(OverridesParser.create().parse_overrides(given)) == ["b", "d", "g.h"]


def test_values_that_would_give_one_folder_are_refused():
    with pytest.raises(UserError, match=r"only=.*one folder"):
        constant_keys(OverridesParser.create().parse_overrides(["+only=[A],A"]))
