"""The report: one file that a real browser opens without complaint or network, sorts, toggles and compares in."""

import json
import re
import shutil

import numpy as np
import pytest
from plotly import graph_objects

from facekp.config.command import split_arguments
from facekp.core.errors import UserError
from facekp.data.synthetic.faces import draw_faces
from facekp.reporting.benchmark import leave_runs
from facekp.reporting.html.report import report
from tests.browser import chromium
from tests.conftest import config_of, facekp

MEGABYTE = 1e6


def settings(out, *more):
    return config_of(f"out={out}", "resamples=200", *more, name="report")


def content_of(page):
    """What the page draws itself from."""
    text = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text.group(1))


def blocks_of(page):
    return {
        block.get("name", block["kind"]): block
        for section in content_of(page)["sections"]
        for block in section["blocks"]
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory, faces):
    """Nine runs in three groups of seeds, one calibrated, a broken folder, and a name that would be markup."""
    folder = tmp_path_factory.mktemp("sweep")
    leave_runs(folder, 9, faces, config_of("data=synthetic", "data.rows=80", "data.seed=1"))
    (folder / "run000").rename(folder / "<img src=x onerror=alert(1)> & <b>bold")
    shutil.copytree(folder / "run001", folder / "killed")
    (folder / "killed" / "metrics.json").unlink()
    (folder / "run002" / "reliability.json").write_text('{"points": 90, "expected": [1, 2], "measured": [1.1, 1.5]}')
    (folder / "run004" / "reliability.json").write_text('{"points": 90}')
    return folder


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    return report(settings(tmp_path_factory.mktemp("page") / "report.html", "faces=3"), [root])


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page)
        yield opened


def test_paths_are_plain_and_settings_have_an_equals_sign():
    paths, rest = split_arguments(["outputs/a", "faces=2", "b c", "--cfg=job", "--", "lr=1", "-x"])
    assert paths == ["outputs/a", "b c", "lr=1", "-x"]
    assert rest == ["faces=2", "--cfg=job"]
    assert split_arguments([]) == ([], [])


def test_the_command_writes_the_page_and_tells_mistakes_in_one_line(root, tmp_path):
    done = facekp("report", str(root / "run003"), "out=one.html", "faces=1", "resamples=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one.html" in done.stderr
    assert blocks_of(tmp_path / "one.html")["runs"]["rows"][0]["name"] == "run003"
    done = facekp("report", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "facekp: error: nowhere: no such folder; name folders of runs or sweeps (settings are written key=value)"
    ]


def test_what_is_one_of_two(tmp_path):
    with pytest.raises(UserError, match="what=x: choose one of runs, data"):
        report(settings(tmp_path / "x.html", "what=x"), [])


def test_the_tables_hold_the_runs_own_figures(root, page):
    blocks = blocks_of(page)
    rows = {row["name"]: row for row in blocks["runs"]["rows"]}
    assert len(rows) == 9
    for name, row in rows.items():
        figures = json.loads((root / name / "metrics.json").read_text())
        assert row["rmse"] == pytest.approx(figures["rmse"])
        assert row["low"] < row["rmse"] < row["high"]
    assert {column["label"] for column in blocks["runs"]["columns"]} >= {"lr", "seed"}
    points = {row["name"]: row for row in blocks["points"]["rows"]}
    figures = json.loads((root / "run003" / "metrics.json").read_text())
    assert points["run003"]["rmse/nose_tip"] == pytest.approx(figures["rmse/nose_tip"], abs=1e-4)
    assert points["mean face"]["rmse"] == pytest.approx(figures["mean_face"]["rmse"])
    group = next(row for row in blocks["groups"]["rows"] if row["name"] == "lr=0.003")
    own = [rows[f"run{i:03d}"]["rmse"] for i in (6, 7, 8)]
    assert group["mean"] == pytest.approx(np.mean(own))
    assert group["spread"] == pytest.approx(np.std(own, ddof=1))
    assert group["repeated"] == "seed 0 1 2"
    assert content_of(page)["sections"][-1]["blocks"][0]["lines"] == ["killed: no metrics.json: unfinished"]


def test_every_figure_is_one_that_plotly_knows(page):
    figures = [block["figure"] for block in blocks_of(page).values() if block["kind"] == "figure"]
    assert len(figures) == 4
    for figure in figures:
        graph_objects.Figure(data=figure["data"], layout=figure["layout"])  # raises where a name or value is none
    curves = blocks_of(page)["curves"]["figure"]
    assert len(curves["choices"]["x"]["minutes of training"]) == len(curves["data"]) == 9
    line, over, under, calibrated = blocks_of(page)["reliability"]["figure"]["data"]
    assert (calibrated["name"], calibrated["x"], calibrated["y"]) == ("run002", [1, 2], [1.1, 1.5])
    assert [one["y"][1] / one["x"][1] for one in (line, over, under)] == pytest.approx([1, 1.15, 0.85])


def test_worst_and_best_faces_carry_their_own_image_and_points(page, faces):
    blocks, images = blocks_of(page), content_of(page)["images"]
    for choice in blocks["faces"]["choices"]:
        worst, best = choice["groups"]
        scores = [[float(face["caption"].split()[0]) for face in group["faces"]] for group in (worst, best)]
        assert scores[0] == sorted(scores[0], reverse=True)
        assert scores[1] == sorted(scores[1])
        assert scores[0][-1] > scores[1][-1]
        for face in worst["faces"]:
            row = int(face["note"].split()[1].rstrip(","))
            assert len(face["points"]) == faces.mask[row].sum()
            truth = np.array([point["true"] for point in face["points"]])
            assert np.allclose(truth, faces.points[row][faces.mask[row]], atol=0.051)
            assert images[face["image"]].startswith("data:image/png;base64,")


def test_runs_whose_data_are_gone_or_changed_say_so_on_the_page(root, tmp_path, faces):
    base = config_of(f"data.dir={tmp_path}/gone", "data.cache=null")
    leave_runs(tmp_path / "gone_runs", 2, faces, base)
    lost = report(settings(tmp_path / "lost.html"), [tmp_path / "gone_runs"])
    assert "can't be read" in json.dumps(content_of(lost)["sections"])
    assert content_of(lost)["images"] == {}
    leave_runs(tmp_path / "other", 1, faces, config_of("data=synthetic", "data.rows=80", "data.seed=2"))
    other = report(settings(tmp_path / "other.html"), [tmp_path / "other"])
    assert "other labels" in json.dumps(content_of(other)["sections"])


def test_a_hundred_runs_are_one_page_below_20_megabytes(tmp_path, scheme):
    table = draw_faces(200, 0, scheme)
    leave_runs(tmp_path / "runs", 100, table, config_of("data=synthetic", "data.rows=200"))
    out = report(settings(tmp_path / "all.html", "faces=8"), [tmp_path / "runs"])
    assert out.stat().st_size < 20 * MEGABYTE
    blocks = blocks_of(out)
    assert len(blocks["runs"]["rows"]) == 100
    assert len(blocks["groups"]["rows"]) == 34 - 1  # the last run stands alone
    assert len(blocks["versus"]["pairs"]) == (100 + 33) * (99 + 33) / 2


def test_the_browser_has_nothing_to_complain_of_and_asks_for_nothing(browser, page):
    assert browser.value("document.title") == "facekp: 9 runs"
    assert browser.value("document.querySelectorAll('#runs tbody tr').length") == 9
    assert browser.value("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0
    assert browser.value("document.querySelectorAll('#faces image').length") == 6
    assert browser.value("[...document.querySelectorAll('td')].some((cell) => cell.textContent.includes('onerror'))")
    assert browser.value("document.querySelector('td img, td b')") is None
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
    assert browser.complaints == []


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(browser):
    heads = browser.value("[...document.querySelectorAll('#runs th')].map((head) => head.textContent)")
    place = heads.index("lr")
    column = f"[...document.querySelectorAll('#runs tbody tr')].map((row) => row.children[{place}].textContent)"
    browser.click("#runs th button", place)
    rising = [float(cell) for cell in browser.value(column)]
    assert rising == sorted(rising)
    assert len(set(rising)) == 3
    browser.click("#runs th button", place)
    assert [float(cell) for cell in browser.value(column)] == rising[::-1]
    assert browser.value(f"document.querySelectorAll('#runs th')[{place}].ariaSort") == "descending"
    browser.click("#points th button", 1)
    browser.click("#points th button", 1)
    last = "[...document.querySelectorAll('#points tbody tr')].at(-1).children[0].textContent"
    assert browser.value(last) == "mean face"
    assert browser.complaints == []


def test_the_legend_and_the_buttons_toggle_curves(browser):
    shown = "document.getElementById('curves')._fullData.map((trace) => trace.visible)"
    before = browser.value(shown)
    assert before == [True] * 8 + ["legendonly"]
    browser.click("#curves .legendtoggle", 0)
    browser.until("document.getElementById('curves')._fullData[0].visible === 'legendonly'")
    assert browser.value(shown)[1] is True
    title = "document.getElementById('curves').layout.xaxis.title.text"
    first = "document.getElementById('curves')._fullData[1].x[0]"
    assert (browser.value(title), browser.value(first)) == ("epochs", 1)
    browser.value(
        "[...document.querySelectorAll('button')].find((one) => one.textContent === 'minutes of training').click()"
    )
    browser.until(f"{title} === 'minutes of training'")
    assert browser.value(first) == 0.1
    browser.value("[...document.querySelectorAll('button')].find((one) => one.textContent === 'all').click()")
    browser.until("document.getElementById('curves')._fullData.every((trace) => trace.visible === true)")
    assert browser.complaints == []


def test_two_runs_are_compared_with_their_test_and_their_settings(browser, page):
    units = [unit["name"] for unit in blocks_of(page)["versus"]["units"]]
    chosen = {"a": units.index("run003"), "b": units.index("run007")}
    for name, place in chosen.items():
        browser.value(
            f"(() => {{const s = document.getElementById('versus-{name}'); s.selectedIndex = {place};"
            "s.dispatchEvent(new Event('change'))})()"
        )
    verdict = browser.value("document.querySelector('#versus .verdict').textContent")
    pair = blocks_of(page)["versus"]["pairs"][",".join(map(str, sorted(chosen.values())))]
    turn = 1 if chosen["a"] < chosen["b"] else -1
    assert f"{abs(pair['value']):.3f} px" in verdict
    assert f"{'−' if turn * pair['value'] < 0 else '+'}{abs(pair['value']):.3f}" in verdict  # noqa: RUF001
    assert "on 80 images" in verdict
    settings = browser.value("document.getElementById('versus-settings').innerText")
    assert "lr" in settings
    assert "seed" in settings
    assert "0.002" in settings
    assert "0.003" in settings
    assert browser.complaints == []


def test_the_data_page_opens_and_shows_its_pictures(tmp_path):
    out = report(settings(tmp_path / "data.html", "what=data", "data=synthetic", "data.rows=150", "faces=4"), [])
    with chromium(tmp_path / "profile") as opened:
        opened.open(out)
        assert opened.value("document.querySelectorAll('#suspicious image').length") == 4
        assert opened.value("document.querySelectorAll('#counts tbody tr').length") == 15
        assert opened.value("document.querySelectorAll('#scale .main-svg').length") > 0
        assert opened.complaints == []
        assert {url.split(":")[0] for url in opened.requests} <= {"file", "data", "blob"}
    for block in blocks_of(out).values():
        if block["kind"] == "figure":
            graph_objects.Figure(data=block["figure"]["data"], layout=block["figure"]["layout"])
