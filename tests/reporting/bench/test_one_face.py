"""The time of one face is measured for each engine, with and without views."""

import os

from facekp.reporting.bench import one_face
from facekp.reporting.bench.one_face import face_times


def test_every_way_of_predicting_is_timed(ckpt, monkeypatch):
    monkeypatch.setattr(one_face, "CALLS", 1)
    monkeypatch.setattr(one_face, "find_spec", lambda name: None)
    monkeypatch.setitem(os.environ, "FACEKP_CACHE", "")
    times = face_times(str(ckpt), rounds=1)
    assert list(times) == ["torch, all views", "torch, one view and its mirror image", "torch, one view"]
    assert min(times.values()) > 0
