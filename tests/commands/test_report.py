"""``python -m facekp.report``: one file that a real browser opens without errors or requests, sorts and compares in."""

import pytest

from facekp.config.command import split_arguments
from facekp.reporting.html.report import write_report
from tests.browser import chromium
from tests.conftest import facekp
from tests.report_page import blocks_of, content_of, report_settings, write_example_sweep


@pytest.fixture(scope="module")
def example_runs(tmp_path_factory, faces):
    return write_example_sweep(tmp_path_factory.mktemp("sweep"), faces)


@pytest.fixture(scope="module")
def page(example_runs, tmp_path_factory):
    return write_report(report_settings(tmp_path_factory.mktemp("page") / "report.html", "faces=3"), [example_runs])


@pytest.fixture(scope="module")
def versus(page):
    return blocks_of(content_of(page)["sections"])["versus"]


@pytest.fixture(scope="module")
def browser(page):
    with chromium() as opened:
        opened.open(page)
        yield opened


def test_paths_are_plain_and_settings_have_an_equals_sign():
    paths, rest = split_arguments("report", ["outputs/a", "faces=2", "b c", "--cfg=job", "--", "lr=1", "-x"])
    assert paths == ["outputs/a", "b c", "lr=1", "-x"]
    assert rest == ["--cfg=job", "faces=2"]
    assert split_arguments("report", []) == ([], [])


def test_the_command_writes_the_page_and_reports_mistakes_in_one_line(example_runs, tmp_path):
    done = facekp("report", str(example_runs / "run003"), "out=one.html", "faces=1", "resamples=100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one.html" in done.stderr
    sections = content_of(tmp_path / "one.html")["sections"]
    assert blocks_of(sections)["runs"]["rows"][0]["name"] == "run003"
    done = facekp("report", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "facekp: error: nowhere: no such folder; name folders of runs or sweeps (settings are written key=value)"
    ]


def test_the_browser_shows_everything_without_errors_or_requests(browser):
    assert browser.page.evaluate("document.title") == "facekp: 9 runs"
    assert browser.page.evaluate("document.querySelectorAll('#runs tbody tr').length") == 9
    assert browser.page.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0
    assert browser.page.evaluate("document.querySelectorAll('#faces image').length") == 6
    assert browser.page.evaluate(
        "[...document.querySelectorAll('td')].some((cell) => cell.textContent.includes('onerror'))"
    )
    assert browser.page.evaluate("document.querySelector('td img, td b')") is None
    assert browser.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
    assert browser.complaints == []


def test_a_click_on_a_column_title_sorts_and_a_second_one_reverses(browser):
    titles = browser.page.evaluate("[...document.querySelectorAll('#runs th')].map((title) => title.textContent)")
    lr = titles.index("lr")
    column = f"[...document.querySelectorAll('#runs tbody tr')].map((row) => row.children[{lr}].textContent)"
    browser.page.locator("#runs th button").nth(lr).click()
    rising = [float(cell) for cell in browser.page.evaluate(column)]
    assert rising == sorted(rising)
    assert len(set(rising)) == 3
    browser.page.locator("#runs th button").nth(lr).click()
    assert [float(cell) for cell in browser.page.evaluate(column)] == rising[::-1]
    assert browser.page.evaluate(f"document.querySelectorAll('#runs th')[{lr}].ariaSort") == "descending"
    browser.page.locator("#points th button").nth(1).click()
    browser.page.locator("#points th button").nth(1).click()
    last = "[...document.querySelectorAll('#points tbody tr')].at(-1).children[0].textContent"
    assert browser.page.evaluate(last) == "mean face"
    assert browser.complaints == []


def test_texts_are_sorted_by_the_number_that_they_begin_with(browser):
    cells = [
        "39.4, 20.1",
        "4.4, 60.0",
        "-4.4, 1.0",
        "find",
        "40.1 to 41.0",
        "",
        "9.5 to 10.1",
        "adam",
        "9.5 to 10.0",
        5,
    ]
    rising = browser.page.evaluate("(cells) => cells.sort((a, b) => compare(a, b, 1))", cells)
    numbers = ["-4.4, 1.0", "4.4, 60.0", 5, "9.5 to 10.0", "9.5 to 10.1", "39.4, 20.1", "40.1 to 41.0"]
    assert rising == [*numbers, "adam", "find", ""]


def test_metrics_that_neither_of_two_runs_has_are_not_listed(browser):
    units = [{"metrics": {"rmse": 2}}, {"metrics": {"rmse": 1, "nme": 0.5}}]
    scores = [{"key": key, "label": key, "digits": 1} for key in ("rmse", "rmse/nose", "nme")]
    rows = "[...scoresOf(0, 1, units, scores).querySelectorAll('tbody tr')]"
    cells = f"([units, scores]) => {rows}.map((row) => [...row.children].map((cell) => cell.textContent))"
    shown = browser.page.evaluate(cells, [units, scores])
    assert shown == [["rmse", "2.0", "1.0", "1.0"], ["nme", "", "0.5", ""]]


def test_the_legend_and_the_buttons_toggle_curves(browser):
    shown = "document.getElementById('curves')._fullData.map((trace) => trace.visible)"
    before = browser.page.evaluate(shown)
    assert before == [True] * 8 + ["legendonly"]
    browser.page.locator("#curves .legendtoggle").nth(0).click()
    browser.until("document.getElementById('curves')._fullData[0].visible === 'legendonly'")
    assert browser.page.evaluate(shown)[1] is True
    title = "document.getElementById('curves').layout.xaxis.title.text"
    first = "document.getElementById('curves')._fullData[1].x[0]"
    assert (browser.page.evaluate(title), browser.page.evaluate(first)) == ("epochs", 1)
    button = "[...document.querySelectorAll('button')].find((button) => button.textContent === '{}').click()"
    browser.page.evaluate(button.format("minutes of training"))
    browser.until(f"{title} === 'minutes of training'")
    assert browser.page.evaluate(first) == 0.1
    browser.page.evaluate(button.format("all"))
    browser.until("document.getElementById('curves')._fullData.every((trace) => trace.visible === true)")
    assert browser.complaints == []


def test_two_runs_are_compared_with_their_test_and_their_settings(browser, versus):
    units = [unit["name"] for unit in versus["units"]]
    chosen = {"a": units.index("run003"), "b": units.index("run007")}
    for name, index in chosen.items():
        browser.page.evaluate(
            f"(() => {{const s = document.getElementById('versus-{name}'); s.selectedIndex = {index};"
            "s.dispatchEvent(new Event('change'))})()"
        )
    verdict = browser.page.evaluate("document.querySelector('#versus .verdict').textContent")
    pair = versus["pairs"][",".join(map(str, sorted(chosen.values())))]
    sign = 1 if chosen["a"] < chosen["b"] else -1
    assert f"{abs(pair['value']):.3f} px" in verdict
    assert f"{'−' if sign * pair['value'] < 0 else '+'}{abs(pair['value']):.3f}" in verdict  # noqa: RUF001
    assert "on 80 images" in verdict
    settings = browser.page.evaluate("document.getElementById('versus-settings').innerText")
    assert "lr" in settings
    assert "seed" in settings
    assert "0.002" in settings
    assert "0.003" in settings
    nme = browser.page.evaluate(
        "[...document.querySelectorAll('#versus-scores tr')].find((r) => r.textContent.includes('NME'))"
        ".children[1].textContent"
    )
    names = [browser.page.evaluate(f"document.getElementById('versus-{name}').ariaLabel") for name in "ab"]
    assert names == ["A", "B"]  # what a screen reader says
    assert nme == f"{versus['units'][chosen['a']]['metrics']['nme']:.4f}"
    assert browser.complaints == []


def emulate(browser, width, scheme):
    browser.page.set_viewport_size({"width": width, "height": 900})
    browser.page.emulate_media(color_scheme=scheme)


def background_of(browser, selector):
    return browser.page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).backgroundColor")


def test_a_phone_scrolls_tables_but_not_the_page_and_plots_fit(browser, page):
    emulate(browser, 390, "light")
    browser.open(page)
    assert browser.page.evaluate("document.documentElement.scrollWidth") == 390
    assert browser.page.evaluate("document.querySelector('#runs').parentElement.scrollWidth > 358")
    sizes = "[...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot._fullLayout._size.w)"
    assert all(width > 160 for width in browser.page.evaluate(sizes))  # the legend is below the plot
    emulate(browser, 1400, "light")
    browser.until("document.querySelector('#curves')._fullLayout.legend.x > 1")
    assert browser.complaints == []


def test_paper_shows_whole_tables_and_plots_with_their_legend(browser, page):
    browser.page.set_viewport_size({"width": 1400, "height": 900})
    browser.open(page)
    browser.page.emulate_media(media="print")
    browser.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    scroll = "[...document.querySelectorAll('.scroll')].map((box) => getComputedStyle(box))"
    looks = browser.page.evaluate(f"{scroll}.map((look) => [look.overflowX, look.overflowY, look.maxHeight])")
    assert {tuple(look) for look in looks} == {("visible", "visible", "none")}
    width = "document.querySelector('#curves .main-svg').getBoundingClientRect().width"
    assert browser.page.evaluate(width) == 1000
    browser.page.emulate_media(media="screen")
    browser.page.evaluate("dispatchEvent(new Event('afterprint'))")
    browser.until(f"{width} > 1200")
    assert browser.complaints == []


def test_the_page_and_its_plots_follow_the_colour_scheme(browser, page):
    emulate(browser, 1400, "dark")
    browser.open(page)
    dark = "rgb(13, 17, 23)"
    assert background_of(browser, "body") == background_of(browser, "#runs td") == dark
    paper = "document.querySelector('#curves').layout.paper_bgcolor"
    assert browser.page.evaluate(paper) == "#0d1117"
    emulate(browser, 1400, "light")
    browser.until(f"{paper} === '#fff'")
    assert background_of(browser, "body") == "rgb(255, 255, 255)"
    assert browser.complaints == []


@pytest.mark.parametrize(
    ("number", "width", "columns"),
    [(8, 1336, 8), (8, 1000, 4), (8, 358, 2), (8, 100, 1), (6, 700, 3), (7, 700, 4), (1, 700, 1)],
)
def test_faces_are_in_even_rows(browser, number, width, columns):
    assert browser.page.evaluate(f"evenColumns({number}, {width})") == columns


def test_the_data_page_opens_and_shows_its_pictures(browser, tmp_path):
    overrides = ["what=data", "data=synthetic", "data.rows=150", "faces=4"]
    browser.requests.clear()
    browser.open(write_report(report_settings(tmp_path / "data.html", *overrides), []))
    assert browser.page.locator("#suspicious image").count() == 4
    assert browser.page.locator("#counts tbody tr").count() == 15
    assert browser.page.locator("#scale .main-svg").count() > 0
    rows = "document.querySelectorAll('.faces').forEach((rows) => {if (!rows.style.cssText) throw rows})"
    browser.page.evaluate(rows)  # in every section the columns are counted
    assert browser.complaints == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}
