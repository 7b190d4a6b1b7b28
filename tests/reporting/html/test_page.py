"""The page is one file: it needs no network, escapes what it is given, and is valid JSON inside."""

import json

import numpy as np

from facekp.reporting.html import page
from tests.report_page import content_of


def test_values_that_json_lacks_become_null_and_markup_stays_text(tmp_path):
    rows = [{"name": "</script><b>", "rmse": float("nan")}, {"name": "b", "rmse": np.inf, "apart": True}]
    section = page.section("Runs", "", page.table("runs", [page.column("rmse", "RMSE, px", 3)], rows), None)
    page.write_page(tmp_path / "page.html", "a < b", [section, page.section("Empty", "", None)], {"x": "data:,"})
    text = (tmp_path / "page.html").read_text()
    assert "<title>a &lt; b</title>" in text
    assert "</script><b>" not in text
    content = content_of(tmp_path / "page.html")
    assert [part["title"] for part in content["sections"]] == ["Runs"]  # a section without content is left out
    (table,) = content["sections"][0]["blocks"]
    assert [row["rmse"] for row in table["rows"]] == [None, None]
    assert table["rows"][0]["name"] == "</script><b>"
    assert content["images"] == {"x": "data:,"}


def test_the_page_forbids_every_request(tmp_path):
    page.write_page(tmp_path / "page.html", "t", [page.section("s", "", page.text("line"))], {})
    text = (tmp_path / "page.html").read_text()
    assert f'content="{page.POLICY}"' in text
    assert "default-src 'none'" in page.POLICY
    assert "http" not in page.POLICY


def test_blocks_without_content_are_none():
    assert page.table("t", [], []) is None
    assert page.figure("f", None) is None
    assert page.faces("f", []) is None
    assert json.dumps(page.figure("f", {"data": []}, pick=3)) == json.dumps(
        {"kind": "figure", "name": "f", "figure": {"data": []}, "pick": 3}
    )
