"""Cells that a spreadsheet would run are neutral in the file, and read back unchanged."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekp.core.csv_cells import neutral, neutral_frame, original, original_frame
from facekp.core.files import write_csv

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx", "'=a", "''@", "-", "=")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text):
    assert neutral(text) == f"'{text}"
    assert original(neutral(text)) == text


@pytest.mark.parametrize("value", ["nose", "", "'quoted'", "a=b", "-1", "+1.5e-3", "-.5", "-inf", 1, -2.5, None, True])
def test_other_cells_and_numbers_stay(value):
    assert neutral(value) == value
    assert original(value) == value


@given(st.text())
def test_every_text_can_be_read_back(text):
    assert original(neutral(text)) == text


def test_a_table_keeps_its_numbers_and_its_names(tmp_path):
    frame = pd.DataFrame(
        {
            "name": ["=evil.jpg", "b.jpg", None],
            "x": [-1.5, np.nan, 2.0],
            "n": [-1, 2, 3],
            "kind": pd.Categorical(["@a", "b", "@a"]),
            "=col": ["1", "-2", "+3"],
        }
    )
    before = frame.copy(deep=True)
    write_csv(tmp_path / "a.csv", frame)
    pd.testing.assert_frame_equal(frame, before)
    text = (tmp_path / "a.csv").read_text()
    assert text.splitlines()[:2] == ["name,x,n,kind,'=col", "'=evil.jpg,-1.5,-1,'@a,1"]
    read = original_frame(pd.read_csv(tmp_path / "a.csv", dtype={"kind": "category"}))
    assert list(read) == list(frame)
    assert read["name"].tolist()[:2] == ["=evil.jpg", "b.jpg"]
    assert read["x"].tolist()[::2] == [-1.5, 2.0]
    assert (read["n"].tolist(), read["=col"].tolist()) == ([-1, 2, 3], [1, -2, 3])
    assert read["kind"].dtype == "category"
    assert read["kind"].tolist() == ["@a", "b", "@a"]


def test_a_table_without_formulas_is_written_as_before():
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1.25, -2]})
    buffer = io.StringIO()
    neutral_frame(frame).to_csv(buffer, index=False)
    assert buffer.getvalue() == frame.to_csv(index=False)
