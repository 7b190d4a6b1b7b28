"""data=folder: the labels of a CSV, and the error of every fault in it."""

import bz2
import gzip
import io
import zipfile

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from tests.data.photo_folder import BOX, FACE, HEADER, POINTS, read_folder, write_one_photo
from tests.drawn_photos import five, write_photos


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    return write_one_photo(tmp_path)


@pytest.mark.parametrize("boxes", [False, True])
def test_the_table_holds_every_face_with_its_labels_in_photo_pixels(tmp_path, boxes):
    labels = write_photos(tmp_path, 24, boxes=boxes)
    labels.loc[3, POINTS[:2]] = np.nan
    labels.to_csv(tmp_path / "labels.csv", index=False)
    table = read_folder(tmp_path, "data.size=64")
    assert table.size == (64, 64)
    assert table.name.tolist() == labels["name"].tolist()
    assert table.row.tolist() == list(range(1, 25))
    truth = labels[POINTS].to_numpy().reshape(24, 5, 2)
    np.testing.assert_allclose(table.to_photo(table.points)[table.mask], truth[table.mask], atol=1e-3)
    assert (table.mask == ~np.isnan(truth[..., 0])).mean() > 0.97  # the others lie beyond their photo
    assert not table.mask[3, 0]


def test_the_source_column_names_the_convention_and_the_first_one_is_the_default(folder):
    scheme = Keypoints.from_dict({**five().to_dict(), "sources": {"mine": None, "other": ["nose", "left_eye"]}})
    (folder / "labels.csv").write_text(f"{HEADER},source\n{FACE},other\n{FACE},\n")
    assert read_folder(folder, scheme=scheme).source.tolist() == [1, 0]
    (folder / "labels.csv").write_text(f"{HEADER},source\n{FACE},theirs\n")
    with pytest.raises(
        UserError, match="line 2, source: 'theirs' is not a source of keypoints five; choose one of mine, other"
    ):
        read_folder(folder, scheme=scheme)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.csv: header: is empty; separate columns by commas, semicolons or tabs"),
        ("name x y", "labels.csv: header: has one column only, 'name x y'; separate columns by commas"),
        ("\0" * 100, "labels.csv: is a binary file, not a text; give the label file as a text"),
        (HEADER, "labels.csv: has no face with a labelled point"),
        ("name,a_x,a_y\n", r"or choose keypoints=NAME \(with ckpt=: a checkpoint\) of the file's scheme"),
        (f"{HEADER.replace('nose_x', 'chin_x')}\n{FACE}", "column 'nose_x' of keypoints five is missing; add it"),
        (f"{HEADER},chin_x\n{FACE},1", "column 'chin_x' is not a point of keypoints five"),
        (f"{HEADER},nose_x\n{FACE},1", "column 'nose_x' occurs 2 times"),
        (f"{HEADER},\n{FACE},", "column '' is not a point of keypoints five"),
        (f"{HEADER},box_x0\n{FACE},1", "column 'box_y0' is missing beside box_x0"),
        (HEADER.replace(",", "|"), "header: has one column only, 'name|left_eye_x|left_eye_y|right_eye_x|r'; separate"),
        (f"{HEADER}\n\n{FACE}\n{FACE},5", "line 4: 12 fields, but the header has 11 columns"),
        (f"{HEADER}\n{FACE.replace('30', 'x3', 1)}", "line 2, left_eye_x: 'x3' is not a valid coordinate; write"),
        (f"{HEADER}\n{FACE.replace('30', 'nan', 1)}", "line 2, left_eye_x: 'nan' is not a valid coordinate"),
        (f"{HEADER}\n{FACE.replace('30', '', 1)}", "line 2, left_eye: only one of left_eye_x and left_eye_y"),
        (f"{HEADER}\n{FACE.replace('a.png', '', 1)}", "line 2, name: is empty"),
        (f"{HEADER},{BOX}\n{FACE},1,2,,4", "line 2, box_x0: only some of"),
    ],
)  # fmt: skip
def test_every_fault_is_refused_with_its_position(folder, text, message):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_folder(folder)
    assert "\n" not in str(error.value)


def test_lines_with_faults_can_be_left_out(folder, caplog):
    (folder / "labels.csv").write_text(f"{HEADER}\n{FACE}\n{FACE.replace('30', 'x3', 1)}\n{FACE},5\n{FACE}\n")
    assert read_folder(folder, "data.skip_broken=true").row.tolist() == [1, 4]
    assert "2 faces with errors left out (data.skip_broken=true), the first: " in caplog.text
    assert "labels.csv: line 3, left_eye_x: 'x3' is not a valid coordinate" in caplog.text


def test_missing_files_and_other_encodings_are_refused(folder):
    with pytest.raises(UserError, match=r"data.images=.*nowhere: no such folder"):
        read_folder(folder, f"data.images={folder}/nowhere")
    with pytest.raises(UserError, match=r"data.labels=.*no.csv: can't be read \(No such file"):
        read_folder(folder, f"data.labels={folder}/no.csv")
    with pytest.raises(UserError, match=r"^data.labels=.*photos: is a folder; name a file$"):
        read_folder(folder, f"data.labels={folder}/photos")
    (folder / "labels.csv").write_bytes(f"{HEADER}\n{FACE.replace('a.png', 'ä.png')}".encode("latin-1"))
    with pytest.raises(UserError, match=r"not a text in UTF-8, UTF-16 or UTF-32 .*; save it in UTF-8"):
        read_folder(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + f"{HEADER}\r\n{FACE}\r\n".encode(),
        f"{HEADER}\n{FACE}".encode("utf-16"),
        f"{HEADER}\n{FACE}".encode("utf-16-le"),
        f"{HEADER}\n{FACE}".encode("utf-16-be"),
        f"{HEADER}\n{FACE}".encode("utf-32"),
        f"{HEADER}\n{FACE}".encode("utf-32-be"),
        f"{HEADER}\r{FACE}\r".encode(),
        f"{HEADER}\n{FACE}".replace(",", "\t").encode(),
        f",{HEADER}\n0,{FACE}".encode(),
        f"Unnamed: 0,{HEADER}\n0,{FACE}".encode(),
        f"sep=;\n{HEADER}\n{FACE}".replace(",", ";").encode(),
        f"{HEADER}\n{FACE}".replace(",", ";").replace(";30;", ";30,0;").encode(),
        gzip.compress(f"{HEADER}\n{FACE}".encode()),
        bz2.compress(f"{HEADER}\n{FACE}".encode()),
        zipped({"__MACOSX/x": "", "a.csv": f"{HEADER}\n{FACE}"}),
    ],
    ids=[
        "bom",
        "utf16",
        "utf16_le",
        "utf16_be",
        "utf32",
        "utf32_be",
        "cr",
        "tabs",
        "index",
        "index_again",
        "sep",
        "decimal_commas",
        "gzip",
        "bz2",
        "zip",
    ],
)
def test_other_encodings_separators_and_compressions_give_the_same_table(folder, content):
    expected = read_folder(folder)
    (folder / "labels.csv").write_bytes(content)
    table = read_folder(folder)
    assert (table.points == expected.points).all()
    assert (table.images == expected.images).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"xl/workbook.xml": "", "a": ""}), "is a workbook of Excel; save it as CSV"),
        (zipped({"a.csv": "", "b.csv": ""}), "holds 2 files; unpack it"),
        (gzip.compress(bytes(range(256)))[:99], "can't be decompressed"),
    ],
    ids=["workbook", "two_files", "damaged"],  # not the bytes, which hold the time
)
def test_compressed_files_without_a_csv_are_refused(folder, content, message):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_folder(folder)


def test_visibility_may_be_written_as_a_decimal_number(tmp_path):
    write_one_photo(tmp_path)
    (tmp_path / "labels.csv").write_text(f"{HEADER},nose_v\n{FACE},1.0\n")
    assert read_folder(tmp_path).visible.tolist() == [[2, 2, 1, 2, 2]]


def test_an_accent_of_a_column_may_be_a_character_of_its_own(folder):
    composed, apart = "nos\u00e9", "nose\u0301"
    scheme = Keypoints.from_dict({"name": "five", "names": [*five().names[:2], composed, *five().names[3:]]})
    header = HEADER.replace("nose_", f"{apart}_")
    (folder / "labels.csv").write_text(f"{header},{apart}_v\n{FACE},1\n", encoding="utf-8")
    assert read_folder(folder, scheme=scheme).visible.tolist() == [[2, 2, 1, 2, 2]]
