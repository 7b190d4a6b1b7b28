"""A fault of one face: an error with its way out, or a face less and one counted line."""

import logging
from pathlib import Path

import numpy as np
import pytest

from facekp.core.errors import UserError
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import collect_faces


def parse(item):
    if item == "broken":
        raise UserError("labels: line 2: 'x' is not a number; write one")
    if item is None:
        return None
    attributes = {"note": "x" * 101} if item == 9 else {}
    return LabelledFace("a.png", np.zeros((1, 2)), None, 0, item, f"labels: line {item}", attributes=attributes)


def test_a_fault_costs_its_face_and_one_line(caplog):
    caplog.set_level(logging.WARNING)
    faces = collect_faces([1, "broken", None, 3, "broken", 3], parse, Path("labels"), skip_broken=True)
    assert [face.row for face in faces] == [1, 3]
    message = "3 faces with errors left out (data.skip_broken=true), the first: labels: line 2: 'x' is not a number"
    assert [record.getMessage() for record in caplog.records] == [f"{message}; write one"]


@pytest.mark.parametrize(
    ("items", "skip", "message"),
    [
        ([1, "broken"], False, "line 2: 'x' is not a number; write one; or leave out such faces with data.skip_broken"),
        ([3, 3], False, "labels: line 3: its id is duplicated; give every face a different id"),
        ([9], False, "labels: line 9: attribute 'note' has more than 100 characters; shorten it; or leave out"),
        ([None], True, "^labels: has no face with a labelled point$"),
        (["broken"], True, "labels: has no face with a labelled point; the first fault: labels: line 2: 'x'"),
    ],
)
def test_faults_are_refused(items, skip, message):
    with pytest.raises(UserError, match=message):
        collect_faces(items, parse, Path("labels"), skip)
