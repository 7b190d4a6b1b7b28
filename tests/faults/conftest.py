"""A run that nothing disturbed, which the others are compared with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.children import RUN, Child


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Folder of the run, and the seconds that it took."""
    import facekp.training.run  # noqa: F401  forked processes need not import it again

    cwd = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    child = Child(cwd, [*RUN, "out=r"])
    assert child.wait() == 0, child.stderr()
    return cwd / "r", time.monotonic() - started
