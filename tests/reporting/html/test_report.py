"""Whole pages: runs of this and of older versions, runs without data, a hundred runs, and a metric of a plug-in."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from plotly import graph_objects

from facekp.data.synthetic.faces import draw_faces
from facekp.functional.metrics import METRICS, Curve, MetricInput, metric
from facekp.reporting.bench.example_runs import write_example_runs
from facekp.reporting.console_tables import metrics_table
from facekp.reporting.html.report import write_report
from tests.conftest import config_of
from tests.report_page import blocks_of, content_of, report_settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
MEGABYTE = 1e6


def test_runs_of_version_0_1_0_are_reported_with_their_faces(tmp_path):
    out = write_report(report_settings(tmp_path / "old.html", "faces=2"), [FIXTURES / "v0_1"])
    content = content_of(out)
    blocks = blocks_of(content["sections"])
    assert [row["name"] for row in blocks["runs"]["rows"]] == ["run", "run_ema", "run_older"]
    metrics = json.loads((FIXTURES / "v0_1" / "run" / "metrics.json").read_text())
    assert blocks["runs"]["rows"][0]["rmse"] == metrics["rmse"]
    assert len(blocks["faces"]["choices"]) == 3
    assert content["images"]
    assert "Skipped folders" not in [section["title"] for section in content["sections"]]


def test_runs_whose_data_are_gone_or_changed_say_so_on_the_page(tmp_path, faces):
    gone = config_of(f"data.dir={tmp_path}/gone", "data.cache=null")
    write_example_runs(tmp_path / "gone_runs", 2, faces, gone)
    out = write_report(report_settings(tmp_path / "lost.html"), [tmp_path / "gone_runs"])
    assert "can't be read" in json.dumps(content_of(out)["sections"])
    assert content_of(out)["images"] == {}
    changed = config_of("data=synthetic", "data.rows=80", "data.seed=2")
    write_example_runs(tmp_path / "changed", 1, faces, changed)
    out = write_report(report_settings(tmp_path / "changed.html"), [tmp_path / "changed"])
    assert "other labels" in json.dumps(content_of(out)["sections"])


@pytest.mark.slow
def test_a_hundred_runs_are_one_page_below_20_megabytes(tmp_path, scheme):
    table = draw_faces(200, 0, scheme)
    write_example_runs(tmp_path / "runs", 100, table, config_of("data=synthetic", "data.rows=200"))
    out = write_report(report_settings(tmp_path / "all.html", "faces=8"), [tmp_path / "runs"])
    assert out.stat().st_size < 20 * MEGABYTE
    blocks = blocks_of(content_of(out)["sections"])
    assert len(blocks["runs"]["rows"]) == 100
    assert len(blocks["groups"]["rows"]) == 34 - 1  # the last run is alone in its group
    assert len(blocks["versus"]["pairs"]) == (100 + 33) * (99 + 33) / 2


def test_the_data_page_has_valid_figures(tmp_path):
    overrides = ["what=data", "data=synthetic", "data.rows=60", "faces=2"]
    out = write_report(report_settings(tmp_path / "data.html", *overrides), [])
    blocks = blocks_of(content_of(out)["sections"]).values()
    figures = [block["figure"] for block in blocks if block["kind"] == "figure"]
    assert len(figures) == 1
    for figure in figures:
        graph_objects.Figure(data=figure["data"], layout=figure["layout"])


@contextmanager
def plugin_metrics():
    """Metrics as a plug-in declares them, while the context lasts."""

    @metric("failures", label="failures", unit="fraction", digits=4, better="lower")
    def failures(scored: MetricInput) -> float:
        """Fraction of faces with a point off by more than 3 px."""
        return float((np.nanmax(scored.distance, axis=1) > 3).mean())

    @metric("rmse/eyes", label="eyes", unit="px", digits=2)
    def by_eye(scored: MetricInput) -> dict[str, float]:
        """Median distance by eye."""
        return {side: float(np.nanmedian(scored.distance[:, k])) for k, side in enumerate(("left", "right"))}

    @metric("precision", label="precision", better="higher", shown=("report",))
    def precision(scored: MetricInput) -> Curve:
        """Made up."""
        return Curve(confidence=[0.0, 1.0], precision=[0.5, 1.0])

    try:
        yield
    finally:
        for name in ("failures", "rmse/eyes", "precision"):
            METRICS.entries.pop(name)


def test_a_new_metric_appears_everywhere_and_not_among_the_keypoints(tmp_path, faces, scheme):
    with plugin_metrics():
        check_that_new_metrics_appear(tmp_path, faces, scheme)


def check_that_new_metrics_appear(tmp_path, faces, scheme):
    write_example_runs(tmp_path / "runs", 4, faces, config_of("data=synthetic", "data.rows=80", "data.seed=1"))
    metrics = json.loads((tmp_path / "runs" / "run000" / "metrics.json").read_text())
    for figures in (metrics, metrics["mean_face"]):
        assert 0 <= figures["failures"] <= 1
        assert figures["precision"] == {"confidence": [0.0, 1.0], "precision": [0.5, 1.0]}
    # console
    table = metrics_table(metrics, scheme, "title")
    cells = {row[0]: row[1] for row in zip(*(column._cells for column in table.columns), strict=True)}
    assert cells["failures, fraction"] == f"{metrics['failures']:.4f}"
    assert cells["eyes left, px"] == f"{metrics['rmse/eyes/left']:.2f}"
    # report
    out = write_report(report_settings(tmp_path / "page.html", "faces=0"), [tmp_path / "runs"])
    sections = content_of(out)["sections"]
    blocks = blocks_of(sections)
    columns = {column["key"]: column for column in blocks["runs"]["columns"]}
    assert columns["failures"]["label"] == "failures, fraction"
    assert columns["failures"]["hint"] == "Fraction of faces with a point off by more than 3 px; lower is better"
    assert columns["rmse/eyes/left"]["digits"] == 2
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    assert rows["run000"]["failures"] == pytest.approx(metrics["failures"])
    scores = {score["key"] for score in blocks["versus"]["scores"]}
    assert {"failures", "rmse/eyes/left", "rmse/eyes/right"} <= scores
    keypoint_columns = [column["label"] for column in blocks["points"]["columns"]]
    assert keypoint_columns == ["run", "all", "dense", "sparse", *(name.replace("_", " ") for name in scheme.names)]
    assert blocks["precision-figure"]["figure"]["data"][0]["y"] == [0.5, 1.0]


def test_without_the_plugin_its_figures_are_not_shown(tmp_path, faces):
    with plugin_metrics():
        write_example_runs(tmp_path / "runs", 2, faces, config_of("data=synthetic", "data.rows=80", "data.seed=1"))
    out = write_report(report_settings(tmp_path / "page.html", "faces=0"), [tmp_path / "runs"])
    sections = content_of(out)["sections"]
    assert "rmse/eyes/left" not in {column["key"] for column in blocks_of(sections)["points"]["columns"]}
    assert "failures" not in json.dumps(sections)
