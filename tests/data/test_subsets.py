"""Subsets by attributes: which faces data.only reads, which a split keeps together, and the error of every fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.core.settings import parse
from facekp.data.readers.base import READERS
from facekp.data.readers.read import read_table
from facekp.data.split import inseparable_groups
from facekp.data.subsets import subset_of_table
from tests.data.label_readers import shipped
from tests.data.photo_folder import HEADER, folder_settings, read_folder, write_one_photo
from tests.data.samples import data_settings

POINTS = "30,20,10,20,20,30,28,40,12,40"
PERSONS = ["ann", "bob", "ann", ""]
PARTS = ["train", "val", "test", "train"]


@pytest.fixture
def folder(tmp_path):
    """Four faces; all are of one photo, as only attributes matter here."""
    write_one_photo(tmp_path)
    rows = [f"a.png,{POINTS},{person},{part}" for person, part in zip(PERSONS, PARTS, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join([f"{HEADER},attribute_person,attribute_part", *rows]))
    return tmp_path


@pytest.mark.parametrize(
    ("only", "rows"),
    [
        ("{part: train}", [1, 4]),
        ("{part: [train, val]}", [1, 2, 4]),
        ("{part: [train, test], person: ann}", [1, 3]),
        ("{person: ''}", [4]),
        ("{source: default}", [1, 2, 3, 4]),
    ],
)
def test_faces_of_photos_are_chosen_before_they_are_cropped(folder, only, rows):
    assert read_folder(folder, f"data.only={only}").row.tolist() == rows


def test_rows_count_the_chosen_faces(folder):
    assert read_folder(folder, "data.only={part: train}", "data.rows=1", "data.rows_from=first").row.tolist() == [1]


def test_faces_with_errors_are_left_out_of_a_subset_too(folder):
    with (folder / "labels.csv").open("a") as file:
        file.write("\nmissing.png," + POINTS + ",eve,val\n")
    assert read_folder(folder, "data.only={part: val}", "data.skip_broken=true").row.tolist() == [2]


def drawn(*overrides):
    return read_table(data_settings("data=synthetic", "data.rows=40", *overrides), shipped("kaggle15"))


def test_rows_of_a_table_are_chosen_by_their_source():
    everything = drawn()
    dense = drawn("data.only={source: dense}")
    first = everything.source == 0
    assert 0 < len(dense) == first.sum() < 40
    assert dense.row.tolist() == everything.row[first].tolist()
    assert (dense.images[:] == everything.images[:][first]).all()


def test_an_attribute_named_source_is_the_one_that_is_meant(faces):
    table = replace(faces, attributes={"source": np.where(np.arange(len(faces)) % 2, "odd", "even")})
    assert (
        subset_of_table(table, {"source": ["odd"]}, "data.only").tolist() == (np.arange(len(faces)) % 2 == 1).tolist()
    )


def test_faces_with_the_same_value_of_a_named_attribute_stay_together(folder):
    assert read_folder(folder, "data.group_by=person").group_by == ("person",)
    table = replace(read_folder(folder, "data.group_by=[person]"), photo_hash=np.arange(4))
    apart = replace(table, images=np.random.default_rng(0).integers(0, 256, table.images.shape, dtype=np.uint8))
    assert inseparable_groups(apart).tolist() == [0, 1, 0, 3]
    assert inseparable_groups(replace(apart, group_by=())).tolist() == [0, 1, 2, 3]
    assert apart.take(np.arange(2)).group_by == apart.joined(apart).group_by == ("person",)


def test_rows_are_grouped_by_their_source():
    assert len(np.unique(inseparable_groups(drawn("data.group_by=source")))) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.only={prt: val}",
            "data.only: the faces have no attribute 'prt'; did you mean part?; they have source, ",
        ),
        (
            "data.only={part: vall}",
            "data.only.part=vall: no face has this value; did you mean val?; there are test, tr",
        ),
        ("data.only={part: [val, x]}", "data.only.part=x: no face has this value; there are test, train, val"),
        ("data.only={part: val, person: ann}", "data.only: no face has all of these values; choose values that occur"),
        ("data.group_by=[persn]", "data.group_by: the faces have no attribute 'persn'; did you mean person?"),
    ],
)
def test_what_no_face_has_is_refused_with_what_there_is(folder, override, message):
    with pytest.raises(UserError) as error:
        read_folder(folder, override)
    assert message in str(error.value).replace("; ; ", "; ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"only": {"blur": True}},
            "data.only.blur=true: write the value as the label file has it, in quotes, such as '1'",
        ),
        ({"only": {}}, "data.only={}: "),
        ({"only": {"blur": []}}, "data.only.blur=[]: "),
        ({"only": "val"}, "data.only=val: "),
        ({"only": {"blur": None}}, "data.only.blur"),
        ({"group_by": 3}, "data.group_by=3: "),
        ({"group_by": [""]}, "data.group_by"),
    ],
)
def test_a_subset_of_another_form_is_refused(values, message):
    plain = data_settings("data=synthetic").plain()
    with pytest.raises(UserError) as error:
        parse(READERS.settings_class("synthetic"), {**plain, **values}, "data")
    assert message in str(error.value)


def test_a_number_of_another_spelling_needs_quotes(faces):
    table = replace(faces, attributes={"take": np.where(np.arange(len(faces)) % 2, "03", "1e5")})
    for value, text in (("3", "03"), ("100000.0", "1e5")):
        with pytest.raises(
            UserError, match=f"data.only.take={value}: no face has this value; write '{text}' in quotes; "
        ):
            subset_of_table(table, {"take": [value]}, "data.only")


def test_numbers_are_taken_as_texts(tmp_path):
    settings = folder_settings(tmp_path, "data.only={take: 7, size: [1.5, big]}")
    assert settings.only == {"take": ("7",), "size": ("1.5", "big")}
    assert type(settings).model_validate(settings.plain()) == settings
