"""Rows of CSV files: what is accepted, and the error of every file that is not."""

import re

import pytest

from facekp.data.competition import read_training_csv
from tests.data.competition.samples import HEADER, IMAGE, PAIR, error, training


def test_columns_may_come_in_any_order_with_quotes_bom_blank_lines_and_crlf(tmp_path):
    rows = [
        "\ufeffImage,nose_y,nose_x,lip_x,lip_y,eye_x,eye_y",
        f"{IMAGE} ,4,3,5,6,1,2",
        "",
        f'"{IMAGE}","4",3,5,6, 1 ,2',
    ]
    (tmp_path / "training.csv").write_bytes("\r\n".join(rows).encode())
    table = read_training_csv(tmp_path, PAIR)
    assert table.points.tolist() == [[[1, 2], [3, 4], [5, 6]]] * 2
    assert (table.images == 7).all()


def test_missing_duplicated_and_unknown_columns_are_named(tmp_path):
    row = f"1,2,3,4,5,6,{IMAGE}"
    training(tmp_path, row, header=HEADER.replace("nose_y", "nase_y"))
    assert re.search(r"training.csv: .*'nose_y' is missing", error(tmp_path))
    training(tmp_path, row, header=HEADER.replace("nose_y", "nose_x"))
    assert re.search("'nose_x' occurs 2 times", error(tmp_path))
    training(tmp_path, row + ",0", header=HEADER + ",smile")
    assert re.search("column 8 .*'smile'", error(tmp_path))


def test_files_of_another_kind_are_recognised(tmp_path):
    path = tmp_path / "training.csv"
    for content, words in [
        ("", "empty"),
        ("\n\n", "empty"),
        (HEADER + "\n", "no rows"),
        (HEADER.replace(",", ";") + f"\n1;2;3;4;5;6;{IMAGE}\n", "separated by ;.*commas"),
        (HEADER.replace(",", "\t") + f"\n1\t2\t3\t4\t5\t6\t{IMAGE}\n", "separated by a tab.*commas"),
        ("\n  <!DOCTYPE html>\n<html><body>Sign in, please</body></html>", "web page"),
        ("PK\x03\x04 and so on", r"rename it so that it ends in .zip"),
        ("\x00" * 3_000_000, "not a text in UTF-8; decompress it, or save it as CSV in UTF-8"),
        ("\x1f\x8b\b\0;", "not a text in UTF-8; decompress it"),
        (f"{HEADER}\r1,2,3,4,5,6,{IMAGE}\r", r"lines end in \\r only, as on old Macs; save the file with \\n or"),
        ('{"key": [' + '"' + "1, " * 100_000, "column 'eye_x' is missing"),
    ]:
        path.write_text(content, newline="")
        assert re.search(words, error(tmp_path)), content[:20]


@pytest.mark.parametrize("keep", [5, 2000, 18436])
def test_a_truncated_file_says_so(tmp_path, keep):
    row = f"1,2,3,4,5,6,{IMAGE}"
    (tmp_path / "training.csv").write_text(f"{HEADER}\n{row}\n{row[:keep]}")
    assert re.search(r"row 2 \(line 3\), .*ends here without a line end: if the download was cut off", error(tmp_path))


def test_row_of_too_many_fields_is_an_error(tmp_path):
    training(tmp_path, f"1,2,3,4,5,6,{IMAGE}", f"1,2,3,4,5,6,{IMAGE},9")
    assert re.search(r"row 2 \(line 3\), Image: .* 8 fields, but the header has 7 columns", error(tmp_path))
    training(tmp_path, f"1,2,3,4,5,{IMAGE}")
    assert re.search(r"row 1 \(line 2\), Image: .* 6 fields, but the header has 7 columns", error(tmp_path))
