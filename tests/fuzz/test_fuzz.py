"""Damaged files of every kind: they are read, or refused by a `UserError` in one line, in bounded time and memory.

``make fuzz SECONDS=600`` runs longer, and prints how many files were read. FACEKP_FUZZ is the time in seconds of each
kind, FACEKP_SEED the first seed.
"""

from __future__ import annotations

import os
import resource
import time

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from facekp.core.errors import UserError
from tests.fuzz.edits import EDITS
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("FACEKP_FUZZ", "0.5"))
SEED = int(os.environ.get("FACEKP_SEED", "0"))
ROUND = 5  # inputs between two looks at the clock
MAX_SECONDS = 30.0  # seconds for one file, on a busy machine
MAX_MEMORY_KB = 2**21  # KB that reading one kind of file may add to the process


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_damaged_file_is_read_or_refused_in_one_line(name, tmp_path, record_property):
    target = TARGETS[name]
    target.write(tmp_path)
    path = tmp_path / target.file
    valid = path.read_bytes()
    target.read(tmp_path)
    counts = {"inputs": 0, "refused": 0}
    record_property("fuzz", counts)

    def check(edits):
        content = valid
        for edit in edits:
            content = edit(content)
        path.write_bytes(content)
        counts["inputs"] += 1
        start = time.monotonic()
        message = ""
        try:
            target.read(tmp_path)
        except UserError as error:
            counts["refused"] += 1
            message = str(error)
        assert "\n" not in message
        assert time.monotonic() - start < MAX_SECONDS

    options = settings(
        max_examples=ROUND,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + SECONDS
    number = SEED
    while time.monotonic() < end:
        seed(number)(options(given(EDITS)(check)))()
        number += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_MEMORY_KB
