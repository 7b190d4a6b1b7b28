"""The ablation: rows trained or scored where they are missing, and a table of nothing but what their runs left."""

import json
import logging
import statistics

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from facekp.ablation import main
from facekp.core.errors import UserError
from facekp.reporting.ablation import BEGIN, END, read_rows, runs_of
from tests.conftest import TINY, config_of

NONE = {"out": None, "rows": []}  # no picture


def row(name, *train, **more):
    return {"name": name, "what": f"what {name} is", "train": list(train), **more}


def scoring(name, ckpt, seeds=(0,), **more):
    return {"name": name, "what": f"what {name} is", "seeds": list(seeds), "evaluate": {"ckpt": ckpt, **more}}


def config(*rows, **more):
    return {**config_of(name="ablation"), "rows": list(rows), "picture": NONE, **more}


def tabulate(*rows, **more):
    """Call the tool for what is there; give back its table, a line a row."""
    return main(OmegaConf.create(config(*rows, train_missing=False, **more))).set_index("row")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leave(folder, rmse, overrides=(), revision="0123456789abcdef", minutes=(), **figures):
    """What a finished run leaves, as far as it is read."""
    folder.mkdir(parents=True)
    found = {"rmse": rmse, "rmse/dense": rmse - 0.25, "rmse/sparse": rmse + 0.5, "rmse/trimmed": rmse / 2, **figures}
    (folder / "metrics.json").write_text(json.dumps({**found, "mean_face": {"rmse": 3.0}}))
    (folder / "git.txt").write_text(f"{revision}\n")
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if minutes:
        curve = pd.DataFrame({"epoch": range(len(minutes)), "minutes": minutes, "val/rmse": [2.0, 1.6, 1.5]})
        curve.to_csv(folder / "metrics.csv", index=False)


def test_rows_are_trained_and_scored_where_they_are_missing_and_kept_where_they_are_not(here):
    training = row("tiny", "trainer.max_epochs=1", seeds=[1])
    flipped = scoring("flipped", ["tiny"], seeds=[1], each=True, overrides=["decoder.flip=true"])
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


def test_a_row_from_another_has_its_overrides_but_for_the_keys_it_sets_itself():
    first, second = row("first", "lr=1e-3", "loss=mse"), row("second", "lr=2e-3", **{"from": "first"})
    third = row("third", "optimizer=sgd", **{"from": "second"})
    rows = read_rows(config(first, scoring("scored", ["first"]), second, third))
    assert rows[2]["train"] == ["loss=mse", "lr=2e-3"]
    assert rows[3]["train"] == ["loss=mse", "lr=2e-3", "optimizer=sgd"]
    for wrong in ("third", "scored", "none"):
        with pytest.raises(UserError, match=f"rows: second: from: {wrong} is none of the rows first"):
            read_rows(config(first, scoring("scored", ["first"]), row("second", **{"from": wrong}), third))


def test_figures_are_means_and_sample_deviations_over_the_runs(here):
    root = here / "outputs" / "ablation"
    scores = [1.4517, 1.4702, 1.4388]
    for seed, score in enumerate(scores):
        leave(root / "base" / str(seed), score, minutes=(1, 2, 10.0 + seed), parameters=1234567)
    leave(root / "lone" / "0", 1.9, revision="no checkout")
    table = tabulate(row("base", seeds=[0, 1, 2]), row("lone"))
    mean, spread = statistics.mean(scores), statistics.stdev(scores)
    assert table["RMSE, px"].tolist() == [f"{mean:.3f} ± {spread:.3f}", "1.900"]
    assert table["dense"].tolist() == [f"{mean - 0.25:.3f} ± {spread:.3f}", "1.650"]
    assert table["sparse"].tolist() == [f"{mean + 0.5:.3f} ± {spread:.3f}", "2.400"]
    assert table["without worst 1 %"].tolist() == [f"{mean / 2:.3f} ± {spread / 2:.3f}", "0.950"]
    assert table["runs"].tolist() == ["3", "1"]
    assert table["minutes"].tolist() == ["11.0", ""]
    assert table["parameters"].tolist() == ["1,234,567", ""]
    assert table["revision"].tolist() == ["012345678", ""]
    runs = pd.read_csv("docs/accuracy.csv")
    assert runs["rmse"].tolist() == [*scores, 1.9]
    assert runs["seed"].tolist() == [0, 1, 2, 0]
    assert runs["minutes"].tolist()[:3] == [10, 11, 12]


def test_minutes_of_a_run_without_curves_are_those_of_its_figures(here):
    leave(here / "outputs" / "ablation" / "base" / "0", 1.5)
    path = here / "outputs" / "ablation" / "base" / "0" / "metrics.json"
    path.write_text(json.dumps({"rmse": 1.5, "minutes": 7.25}))
    table = tabulate(row("base"))
    assert table["minutes"].tolist() == ["7.2"]
    assert table["dense"].tolist() == [""]


def test_the_command_and_the_revision_are_those_of_the_run_s_folder(here, caplog):
    root = here / "outputs" / "ablation"
    for seed in (0, 1):
        said = ["data.dir=/somewhere", "loss=mse", f"seed={seed}", f"out=x/{seed}"]
        leave(root / "base" / str(seed), 1.5, said, revision=f"{seed}123456789-dirty")
    with caplog.at_level(logging.WARNING):
        table = tabulate(row("base", "loss=wing", seeds=[0, 1]))
    assert table["command"].tolist() == ["`python -m facekp.train loss=mse`"]
    assert table["revision"].tolist() == ["mixed"]
    assert "run with loss=mse, which rows no longer says" in caplog.text


def test_the_table_is_put_between_the_comments_and_nothing_else_is_touched(here):
    path = here / "page.md"
    path.write_text(f"# Rows\n\nbefore\n\n{BEGIN}\n| old | table |\n{END}\n\nafter é\n")
    leave(here / "outputs" / "ablation" / "base" / "0", 1.5)
    for _ in range(2):
        tabulate({**row("base"), "what": "a | b"}, out="page.md")
        before, _, rest = path.read_text().partition(BEGIN)
        inside, _, after = rest.partition(END)
        assert (before, after) == ("# Rows\n\nbefore\n\n", "\n\nafter é\n")
        lines = inside.strip().splitlines()
        assert lines[0].startswith("| row | what differs | RMSE, px | dense | sparse | without worst 1 % |")
        assert lines[2].startswith("| base | a \\| b | 1.500 | 1.250 | 2.000 | 0.750 | 1 |")
        assert len(lines) == 3


def test_a_document_that_does_not_exist_holds_the_table_alone(here):
    leave(here / "outputs" / "ablation" / "base" / "0", 1.5)
    tabulate(row("base"))
    lines = (here / "docs" / "accuracy.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == (BEGIN, END)


@pytest.mark.parametrize("text", ["nothing", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_document_without_the_comments_is_told_before_anything_is_trained(here, text):
    (here / "page.md").write_text(text)
    with pytest.raises(UserError, match=r"out=page.md: lacks <!-- /?ablation -->"):
        main(OmegaConf.create(config(row("base"), out="page.md")))
    assert not (here / "outputs").exists()


def test_rows_without_runs_are_left_out_and_named(here, caplog):
    leave(here / "outputs" / "ablation" / "base" / "1", 1.5)
    with caplog.at_level(logging.INFO):
        table = tabulate(row("absent"), row("base", seeds=[0, 1]), scoring("both", ["base"]))
    assert table.index.tolist() == ["base"]
    assert table["runs"].tolist() == ["1"]
    assert [r.message for r in caplog.records if "left out" in r.message] == [
        "left out, no finished run yet: absent, both"
    ]


def test_the_columns_follow_the_scheme_s_sources(here):
    leave(here / "outputs" / "ablation" / "base" / "0", 1.5, **{"rmse/thorough": 1.25})
    given = config_of(name="ablation")["keypoints"]
    own = {**given, "sources": {"thorough": None, "sparse": ["nose_tip"]}}
    table = tabulate(row("base"), keypoints=own)
    assert list(table.columns)[1:5] == ["RMSE, px", "thorough", "sparse", "without worst 1 %"]
    assert table["thorough"].tolist() == ["1.250"]


def test_several_checkpoints_are_scored_together_or_each_on_its_own():
    together = scoring("both", ["base", "other.ckpt"], seeds=[0, 2])
    each = scoring("each", ["base"], seeds=[0, 2], each=True, overrides=["decoder=argmax"])
    given = config(row("base", seeds=[0, 1, 2]), together, each, train=["data.rows=9", "trainer=gpu"], root="r")
    given["rows"] = read_rows(given)
    train, one, two = (runs_of(r, given) for r in given["rows"])
    assert [run.overrides for run in train] == [["data.rows=9", "trainer=gpu", f"seed={s}"] for s in (0, 1, 2)]
    both = "ckpt=[r/base/0/checkpoints/best.ckpt,r/base/2/checkpoints/best.ckpt,other.ckpt]"
    assert [(str(run.folder), run.overrides) for run in one] == [("r/both/0", [both, "data.rows=9"])]
    assert [(str(run.folder), run.overrides) for run in two] == [
        (f"r/each/{s}", [f"ckpt=r/base/{s}/checkpoints/best.ckpt", "data.rows=9", "decoder=argmax"]) for s in (0, 2)
    ]


def test_a_scoring_of_every_seed_is_told_by_one_command(here):
    for seed in (0, 1):
        said = [f"ckpt=r/base/{seed}/checkpoints/best.ckpt", "decoder=argmax"]
        leave(here / "r" / "each" / str(seed), 1.5, said)
    rows = [row("base", seeds=[0, 1]), scoring("each", ["base"], [0, 1], each=True, overrides=["decoder=argmax"])]
    table = tabulate(*rows, root="r")
    assert table["command"].tolist() == [
        "`python -m facekp.evaluate ckpt=r/base/SEED/checkpoints/best.ckpt decoder=argmax`"
    ]


def test_what_is_not_trained_can_t_be_scored(here):
    with pytest.raises(UserError, match="both: outputs/ablation/base/0 holds no finished training"):
        main(OmegaConf.create(config(row("base"), scoring("both", ["base"]), only=["both"])))


def test_the_picture_shows_the_curves_that_are_there(here, caplog):
    root = here / "outputs" / "ablation"
    leave(root / "base" / "0", 1.5, minutes=(1.0, 2.0, 3.0))
    leave(root / "other" / "0", 1.6)
    rows = [row("base"), row("other"), row("absent")]
    picture = {"out": "docs/minutes.png", "rows": ["base", "other", "absent"]}
    tabulate(*rows, picture=picture)
    assert (here / "docs" / "minutes.png").read_bytes().startswith(b"\x89PNG")
    with caplog.at_level(logging.INFO):
        tabulate(*rows, picture={"out": "docs/none.png", "rows": ["other"]})
    assert "no picture" in caplog.text
    assert not (here / "docs" / "none.png").exists()


BASE = row("base")
MISTAKES = {
    "two of one name": ([BASE, BASE], "base stands 2 times"),
    "no name": ([{"what": "x", "train": []}], "needs name, what and one of train, evaluate"),
    "nothing to run": ([{"name": "a", "what": "x"}], "needs name, what and one of train, evaluate"),
    "trained and scored": ([{**BASE, "evaluate": {"ckpt": ["a"]}}], "one of train, evaluate"),
    "a name that is no folder": ([row("../a")], "small letters"),
    "one seed twice": ([row("a", seeds=[1, 1])], "different whole numbers"),
    "no seed": ([row("a", seeds=[])], "different whole numbers"),
    "overrides no list": ([{**BASE, "train": "lr=1"}], "a list of texts"),
    "unknown key": ([row("a", epochs=3)], "epochs is unknown; choose among name, what, seeds, from, train, evaluate"),
    "unknown key of a scoring": ([BASE, scoring("b", ["base"], all=True)], "all is unknown"),
    "nothing to score": ([BASE, scoring("b", [])], "ckpt is needed"),
    "an unknown row to score": ([BASE, scoring("b", ["bsae"])], "bsae is none of the rows base"),
    "a scoring that stands on another row": ([BASE, {**scoring("b", ["base"]), "from": "base"}], "from is for"),
    "a later row to score": ([scoring("a", ["base"]), BASE], "ckpt: base is none of the rows"),
    "a seed that no row trains": ([BASE, scoring("b", ["base"], [0, 1])], "seeds: 1 is none of those that base"),
    "a scoring to score": ([BASE, scoring("b", ["base"]), scoring("c", ["b"])], "b is none of the rows base"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_row_that_is_wrong_is_told(mistake):
    rows, told = MISTAKES[mistake]
    with pytest.raises(UserError, match=told):
        read_rows(config(*rows))


def test_an_unknown_row_asked_for_is_told():
    with pytest.raises(UserError, match="only: other is none of the rows base"):
        read_rows(config(BASE, only=["other"]))
    with pytest.raises(UserError, match=r"picture.rows: other is none of the rows base"):
        read_rows(config(BASE, picture={"out": None, "rows": ["other"]}))
