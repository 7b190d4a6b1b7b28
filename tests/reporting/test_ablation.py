"""The ablation: rows are checked, and their runs are made where they are missing."""

import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from facekp.ablation import main
from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.reporting.ablation_rows import AblationSettings, runs_of
from tests.conftest import TINY, config_of


def row(name, *train, **more):
    return {"name": name, "what": f"what {name} is", "train": list(train), **more}


def evaluation(name, ckpt, seeds=(0,), **more):
    return {"name": name, "what": f"what {name} is", "seeds": list(seeds), "evaluate": {"ckpt": ckpt, **more}}


def config(*rows, **more):
    """Plain values of an ablation without a picture."""
    return {**config_of(name="ablation"), "rows": list(rows), "picture": {"out": None, "rows": []}, **more}


def settings_of(*rows, **more):
    return parse(AblationSettings, config(*rows, **more))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_rows_are_trained_and_scored_where_they_are_missing_and_kept_where_they_are_not(here, forked_commands):
    training = row("tiny", "trainer.max_epochs=1", seeds=[1])
    flipped = evaluation("flipped", ["tiny"], seeds=[1], each=True, overrides=["decoder.flip=true"])
    picture = {"out": "docs/minutes.png", "rows": ["tiny"]}
    given = config(training, flipped, train=[*TINY, "data.batch_size=24"], picture=picture)
    table = main(OmegaConf.create(given)).set_index("row")
    files = [here / "outputs" / "ablation" / name / "1" / "metrics.json" for name in ("tiny", "flipped")]
    stamps = [path.stat().st_mtime_ns for path in files]
    figures = [json.loads(path.read_text()) for path in files]
    assert figures[0]["steps"] == 2  # of the row's one epoch, not of the two that all rows are given
    assert figures[0]["rmse"] != figures[1]["rmse"]
    assert table["RMSE, px"].tolist() == [f"{found['rmse']:.3f}" for found in figures]
    assert table["without worst 1 %"].tolist() == [f"{found['rmse/trimmed']:.3f}" for found in figures]
    assert table["parameters"].tolist() == [f"{figures[0]['parameters']:,}", ""]
    assert "facekp.train data=synthetic data.rows=60" in table["command"]["tiny"]
    assert table["command"]["flipped"] == (
        "`python -m facekp.evaluate ckpt=outputs/ablation/tiny/1/checkpoints/best.ckpt data=synthetic data.rows=60 "
        "data.batch_size=24 decoder.flip=true`"
    )
    assert table["revision"].nunique() == 1
    pd.testing.assert_frame_equal(main(OmegaConf.create(given)).set_index("row"), table)
    assert [path.stat().st_mtime_ns for path in files] == stamps


def test_a_row_from_another_has_its_overrides_except_for_keys_that_it_sets_itself():
    first, second = row("first", "lr=1e-3", "loss=mse"), row("second", "lr=2e-3", **{"from": "first"})
    third = row("third", "optimizer=sgd", **{"from": "second"})
    settings = settings_of(first, evaluation("scored", ["first"]), second, third)
    assert settings.overrides_of(settings.row("second")) == ["loss=mse", "lr=2e-3"]
    assert settings.overrides_of(settings.row("third")) == ["loss=mse", "lr=2e-3", "optimizer=sgd"]
    for wrong in ("third", "scored", "none"):
        with pytest.raises(UserError, match=rf"rows\.second\.from={wrong}: there is no such row before; .*first"):
            settings_of(first, evaluation("scored", ["first"]), row("second", **{"from": wrong}), third)


def test_several_checkpoints_are_scored_as_one_ensemble_or_each_separately():
    together = evaluation("both", ["base", "other.ckpt"], seeds=[0, 2])
    each = evaluation("each", ["base"], seeds=[0, 2], each=True, overrides=["decoder=argmax"])
    shared = ["data.rows=9", "plugins=[mine]", "trainer=gpu"]
    settings = settings_of(row("base", seeds=[0, 1, 2]), together, each, train=shared, root="r")
    train, ensemble, separate = (runs_of(row, settings) for row in settings.rows)
    assert [run.overrides for run in train] == [[*shared, f"seed={s}"] for s in (0, 1, 2)]
    assert [str(run.folder) for run in train] == ["r/base/0", "r/base/1", "r/base/2"]
    both = "ckpt=[r/base/0/checkpoints/best.ckpt,r/base/2/checkpoints/best.ckpt,other.ckpt]"
    assert [(str(run.folder), run.overrides) for run in ensemble] == [("r/both/0", [both, *shared[:2]])]
    assert [(str(run.folder), run.overrides) for run in separate] == [
        (f"r/each/{s}", [f"ckpt=r/base/{s}/checkpoints/best.ckpt", *shared[:2], "decoder=argmax"]) for s in (0, 2)
    ]


def test_every_command_imports_the_plug_ins_of_this_one_unless_it_names_others():
    rows = (row("base", "lr=1"), evaluation("scored", ["base"]))
    for train, plugins in ((["data.rows=9"], "mine"), (["data.rows=9", "plugins=[theirs]"], "theirs")):
        settings = settings_of(*rows, train=train, plugins=["mine"])
        for each in settings.rows:
            (run,) = runs_of(each, settings)
            assert [text for text in run.overrides if text.startswith("plugins")] == [f"plugins=[{plugins}]"]


@pytest.mark.parametrize(
    "reads",
    [evaluation("both", ["base"]), row("both", "teacher.ckpt=outputs/ablation/base/0/checkpoints/best.ckpt")],
)
def test_a_row_that_is_not_trained_can_neither_be_scored_nor_teach(here, reads):
    with pytest.raises(UserError, match="both: outputs/ablation/base/0 holds no finished training"):
        main(OmegaConf.create(config(row("base"), reads, only=["both"])))


@pytest.mark.parametrize("text", ["nothing", "<!-- ablation -->\n", "<!-- /ablation -->\n<!-- ablation -->\n"])
def test_a_document_without_the_comments_is_refused_before_anything_is_trained(here, text):
    (here / "page.md").write_text(text)
    with pytest.raises(UserError, match=r"out=page.md: lacks <!-- /?ablation -->"):
        main(OmegaConf.create(config(row("base"), out="page.md")))
    assert not (here / "outputs").exists()


BASE = row("base")
MISTAKES = {
    "two of one name": ([BASE, BASE], r"rows\.base: this name is duplicated"),
    "no name": ([{"what": "x", "train": []}], r"rows\.0\.name: is missing"),
    "nothing to run": ([{"name": "a", "what": "x"}], r"rows\.a: a row needs one of train and evaluate"),
    "trained and scored": ([BASE, {**row("a"), "evaluate": {"ckpt": ["base"]}}], r"rows\.a: a row needs one of train"),
    "a name that is no folder": ([row("../a")], r"name=\.\./a: must be small letters"),
    "one seed twice": ([row("a", seeds=[1, 1])], r"rows\.a\.seeds=\[1, 1\]: must be different whole numbers"),
    "a negative seed": ([row("a", seeds=[-1])], r"rows\.a\.seeds\.0=-1: must be at least 0"),
    "no seed": ([row("a", seeds=[])], r"rows\.a\.seeds=\[\]: must have at least one entry"),
    "overrides no list": ([{**BASE, "train": "lr=1"}], r"rows\.base\.train=lr=1: must be a list"),
    "unknown key": ([row("a", epochs=3)], r"rows\.a\.epochs: unknown key; .*name, what, seeds, from, train, evaluate"),
    "unknown key of an evaluation": (
        [BASE, evaluation("b", ["base"], all=True)],
        r"rows\.b\.evaluate\.all: unknown key",
    ),
    "nothing to score": ([BASE, evaluation("b", [])], r"rows\.b\.evaluate\.ckpt=\[\]: must have at least one entry"),
    "an unknown row to score": (
        [BASE, evaluation("b", ["bsae"])],
        "ckpt=bsae: .*choose one of base; did you mean base",
    ),
    "an evaluation from another row": ([BASE, {**evaluation("b", ["base"]), "from": "base"}], r"rows\.b: from is for"),
    "a later row to score": ([evaluation("a", ["base"]), BASE], "ckpt=base: there is no such row before"),
    "a seed that no row trains": (
        [BASE, evaluation("b", ["base"], [0, 1])],
        "seeds: base does not train seed 1, only 0",
    ),
    "an evaluation to score": (
        [BASE, evaluation("b", ["base"]), evaluation("c", ["b"])],
        r"rows\.c\.evaluate\.ckpt=b: there is no such row before; choose one of base",
    ),
    "no row": ([], r"rows=\[\]: must have at least one entry"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_row_that_is_not_valid_is_named(mistake):
    rows, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        settings_of(*rows)


def test_an_unknown_row_is_refused_wherever_it_is_named():
    with pytest.raises(UserError, match="only=other: there is no such row before; choose one of base"):
        settings_of(BASE, only=["other"])
    with pytest.raises(UserError, match=r"only=\[\]: must have at least one entry"):
        settings_of(BASE, only=[])
    message = r"picture\.rows=other: there is no such row before; choose one of base; or choose picture\.out=null"
    with pytest.raises(UserError, match=message):
        settings_of(BASE, picture={"out": "minutes.png", "rows": ["other"]})


def test_own_rows_need_no_rows_of_a_picture_that_is_not_drawn():
    shipped = config_of("picture.out=null", name="ablation")["picture"]
    assert shipped["rows"]  # of the shipped rows, which an ablation of your own does not have
    assert settings_of(BASE, picture=shipped).picture.out is None


def test_the_shipped_rows_are_valid():
    assert len(parse(AblationSettings, config_of(name="ablation")).rows) > 40
