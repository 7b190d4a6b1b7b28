"""The table of an ablation: nothing but what finished runs left, between the comments of a document."""

import json
import logging
import os
import statistics

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from facekp.ablation import main
from facekp.core.errors import UserError
from facekp.reporting.ablation_table import BEGIN, END
from tests.conftest import config_of
from tests.reporting.test_ablation import config, evaluation, row


def tabulate(*rows, **more):
    """Call the command for what exists; returns its table, indexed by row."""
    return main(OmegaConf.create(config(*rows, train_missing=False, **more))).set_index("row")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished_run(folder, rmse, overrides=(), revision="0123456789abcdef", minutes=(), **figures):
    """What a finished run leaves, as far as it is read."""
    folder.mkdir(parents=True)
    found = {"rmse": rmse, "rmse/dense": rmse - 0.25, "rmse/sparse": rmse + 0.5, "rmse/trimmed": rmse / 2, **figures}
    (folder / "metrics.json").write_text(json.dumps({**found, "mean_face": {"rmse": 3.0}}))
    (folder / "git.txt").write_text(f"{revision}\n")
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if minutes:
        curve = pd.DataFrame({"epoch": range(len(minutes)), "minutes": minutes, "val/rmse": [2.0, 1.6, 1.5]})
        curve.to_csv(folder / "metrics.csv", index=False)


def test_figures_are_means_and_sample_deviations_over_the_runs(here):
    root = here / "outputs" / "ablation"
    scores = [1.4517, 1.4702, 1.4388]
    for seed, score in enumerate(scores):
        finished_run(root / "base" / str(seed), score, minutes=(1, 2, 10.0 + seed), parameters=1234567)
    finished_run(root / "lone" / "0", 1.9, revision="no checkout")
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
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5)
    path = here / "outputs" / "ablation" / "base" / "0" / "metrics.json"
    path.write_text(json.dumps({"rmse": 1.5, "minutes": 7.25}))
    table = tabulate(row("base"))
    assert table["minutes"].tolist() == ["7.2"]
    assert table["dense"].tolist() == [""]


def test_the_command_and_the_revision_are_those_of_the_run_s_folder(here, caplog):
    root = here / "outputs" / "ablation"
    for seed in (0, 1):
        given = ["data.dir=/somewhere", "loss=mse", f"seed={seed}", f"out=x/{seed}"]
        finished_run(root / "base" / str(seed), 1.5, given, revision=f"{seed}123456789-dirty")
    with caplog.at_level(logging.WARNING):
        table = tabulate(row("base", "loss=wing", seeds=[0, 1]))
    assert table["command"].tolist() == ["`python -m facekp.train loss=mse`"]
    assert table["revision"].tolist() == ["mixed"]
    assert "run with loss=mse; the settings are now loss=wing" in caplog.text


def test_the_table_is_put_between_the_comments_and_nothing_else_is_touched(here):
    path = here / "page.md"
    path.write_text(f"# Rows\n\nbefore\n\n{BEGIN}\n| old | table |\n{END}\n\nafter é\n")
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5)
    for _ in range(2):
        tabulate({**row("base"), "what": "a |\nb\n"}, out="page.md")
        before, _, rest = path.read_text().partition(BEGIN)
        inside, _, after = rest.partition(END)
        assert (before, after) == ("# Rows\n\nbefore\n\n", "\n\nafter é\n")
        lines = inside.strip().splitlines()
        assert lines[0].startswith("| row | what differs | RMSE, px | dense | sparse | without worst 1 % |")
        assert lines[2].startswith("| base | a \\| b | 1.500 | 1.250 | 2.000 | 0.750 | 1 |")
        assert len(lines) == 3


def test_a_document_that_does_not_exist_holds_the_table_alone(here):
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5)
    tabulate(row("base"))
    lines = (here / "docs" / "accuracy.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == (BEGIN, END)


@pytest.mark.parametrize("picture", ["t.md", "docs/../t.csv", "folder"])
def test_a_picture_that_can_t_be_written_is_refused_before_anything_is_trained(here, picture):
    (here / "folder").mkdir()
    (here / "docs").mkdir()
    with pytest.raises(UserError, match=rf"picture\.out={picture}: is "):
        tabulate(row("base"), out="t.md", picture={"out": picture, "rows": []})


def test_a_link_to_the_document_stays_a_link(here):
    (here / "page.md").write_text(f"{BEGIN}{END}")
    (here / "link.md").symlink_to("page.md")
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5)
    tabulate(row("base"), out="link.md")
    assert (here / "link.md").is_symlink()
    assert "| base |" in (here / "page.md").read_text()


def test_rows_without_runs_are_left_out_and_named(here, caplog):
    finished_run(here / "outputs" / "ablation" / "base" / "1", 1.5)
    with caplog.at_level(logging.INFO):
        table = tabulate(row("absent"), row("base", seeds=[0, 1]), evaluation("both", ["base"]))
    assert table.index.tolist() == ["base"]
    assert table["runs"].tolist() == ["1"]
    assert [r.message for r in caplog.records if "left out" in r.message] == [
        "left out, no finished run yet: absent, both"
    ]


def test_the_columns_follow_the_scheme_s_sources(here):
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5, **{"rmse/thorough": 1.25})
    given = config_of(name="ablation")["keypoints"]
    changed = {**given, "sources": {"thorough": None, "sparse": ["nose_tip"]}}
    table = tabulate(row("base"), keypoints=changed)
    assert list(table.columns)[1:5] == ["RMSE, px", "thorough", "sparse", "without worst 1 %"]
    assert table["thorough"].tolist() == ["1.250"]


def test_a_scoring_of_every_seed_is_shown_by_one_command(here):
    for seed in (0, 1):
        given = [f"ckpt=r/base/{seed}/checkpoints/best.ckpt", "decoder=argmax"]
        finished_run(here / "r" / "each" / str(seed), 1.5, given)
    rows = [row("base", seeds=[0, 1]), evaluation("each", ["base"], [0, 1], each=True, overrides=["decoder=argmax"])]
    table = tabulate(*rows, root="r")
    assert table["command"].tolist() == [
        "`python -m facekp.evaluate ckpt=r/base/SEED/checkpoints/best.ckpt decoder=argmax`"
    ]


def test_the_picture_shows_the_curves_that_are_there(here, caplog):
    root = here / "outputs" / "ablation"
    finished_run(root / "base" / "0", 1.5, minutes=(1.0, 2.0, 3.0))
    finished_run(root / "other" / "0", 1.6)
    rows = [row("base"), row("other"), row("absent")]
    picture = {"out": "docs/minutes.png", "rows": ["base", "other", "absent"]}
    tabulate(*rows, picture=picture)
    assert (here / "docs" / "minutes.png").read_bytes().startswith(b"\x89PNG")
    with caplog.at_level(logging.INFO):
        tabulate(*rows, picture={"out": "docs/none.png", "rows": ["other"]})
    assert "no picture" in caplog.text
    assert not (here / "docs" / "none.png").exists()


def test_rows_of_different_data_are_named(here, caplog, example_config):
    root = here / "outputs" / "ablation"
    for name in ("one", "two"):
        finished_run(root / name / "0", 1.5)
        config = {**example_config, "data": {"name": "kaggle", "dir": f"/{name}"}}
        (root / name / "0" / "config.yaml").write_text(yaml.safe_dump(config))
    tabulate(row("one"), row("two"))
    assert "rows read different data (name=kaggle dir=/one; name=kaggle dir=/two)" in caplog.text


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("t.csv", "name a Markdown document"),
        ("folder", "can't be read"),
        ("pipe", "can't be read .not a regular file"),  # opening it would wait for ever
        ("theirs.md", "would replace theirs.csv, which is not of an ablation"),
    ],
)
def test_what_is_no_document_is_refused(here, out, message):
    (here / "folder").mkdir()
    (here / "theirs.csv").write_text("name,nose_x\n")
    os.mkfifo(here / "pipe")
    finished_run(here / "outputs" / "ablation" / "base" / "0", 1.5)
    with pytest.raises(UserError, match=rf"out={out}: {message}"):
        tabulate(row("base"), out=out)


@pytest.mark.parametrize(
    "reads",
    [
        evaluation("later", ["base"]),
        row("later", "teacher.ckpt=[other.ckpt,'r/base/0/checkpoints/best.ckpt']"),
        row("later", "init_from=r/base/0"),
    ],
)
def test_a_run_that_read_a_checkpoint_before_it_was_trained_again_is_named(here, caplog, reads):
    for name in ("base", "later"):
        finished_run(here / "r" / name / "0", 1.5)
    checkpoint = here / "r" / "base" / "0" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    began = (here / "r" / "later" / "0" / "overrides.yaml").stat().st_mtime
    for seconds, warnings in ((-10, 0), (10, 1)):
        os.utime(checkpoint, (began, began + seconds))
        tabulate(row("base"), reads, root="r")
        assert caplog.text.count("r/later/0: was run before r/base/0/checkpoints/best.ckpt was written") == warnings
    assert "remove the folder to run it again" in caplog.text
