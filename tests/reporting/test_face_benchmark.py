"""The time of one face is measured for each engine, with and without views."""

import os

from facekp.reporting import face_benchmark
from facekp.reporting.face_benchmark import face_times


def test_every_way_of_predicting_is_timed(ckpt, monkeypatch):
    monkeypatch.setattr(face_benchmark, "CALLS", 1)
    monkeypatch.setattr(face_benchmark, "find_spec", lambda name: None)
    monkeypatch.setitem(os.environ, "FACEKP_CACHE", "")
    times = face_times(str(ckpt), rounds=1)
    assert list(times) == ["torch, all views", "torch, one view and its mirror image", "torch, one view"]
    assert min(times.values()) > 0
