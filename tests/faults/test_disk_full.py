"""A training that can't write a file says which one in one line, and is resumed to the bit once there is room."""

import errno
import os

import numpy as np
import pytest

from facekp.core import files
from tests.faults.children import RUN, Child, assert_same_run, finish, limit_file_sizes, trials

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)


def fail_at(call: int, number: int) -> None:
    """Let the n-th flush of a file fail."""
    calls = iter(range(10**6))
    flush = files._flush

    def failing(path):
        if next(calls) == call and path.is_file():
            raise OSError(number, os.strerror(number), str(path))
        flush(path)

    files._flush = failing


@pytest.mark.parametrize("seed", trials(1))
def test_a_disk_that_fills_up(tmp_path, whole, seed):
    random = np.random.default_rng(seed)
    call, number = int(2 * random.integers(0, 20)), int(random.choice(ERRORS))
    child = Child(tmp_path, [*RUN, "out=r"], lambda: fail_at(call, number))
    code = child.wait()
    assert code in (0, 2), child.stderr()
    if code == 2:
        lines = [line for line in child.stderr().splitlines() if line.startswith("facekp: error: ")]
        assert len(lines) == 1
        assert f"cannot be written ({os.strerror(number)})" in lines[0]
        if (tmp_path / "r" / "checkpoints" / "last.ckpt").is_file():
            assert "the last good checkpoint is r/checkpoints/last.ckpt; then continue with resume=r" in lines[0]
    assert "Traceback" not in child.stderr()
    finish(tmp_path)
    assert_same_run(tmp_path / "r", whole[0])


@pytest.mark.parametrize("seed", trials(1))
def test_a_limit_of_file_sizes(tmp_path, whole, seed):
    size = (whole[0] / "checkpoints" / "last.ckpt").stat().st_size
    limit = int(np.random.default_rng(seed).integers(size // 4, size - 1))
    child = Child(tmp_path, [*RUN, "out=r"], lambda: limit_file_sizes(limit))
    assert child.wait() == 2, child.stderr()
    assert ".ckpt: cannot be written (File too large); raise the limit of file sizes (ulimit -f)" in child.stderr()
    assert "Traceback" not in child.stderr()
    finish(tmp_path)
    assert_same_run(tmp_path / "r", whole[0])
