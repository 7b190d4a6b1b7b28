"""``python -m facekp.bench`` as a user calls it."""

from tests.conftest import facekp


def test_a_mistake_is_one_line(tmp_path):
    done = facekp("bench", "rounds=0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "facekp: error: rounds=0: must be at least 1"


def test_help_names_every_key(tmp_path):
    done = facekp("bench", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for key in ("ckpt=shipped", "rounds=5", "steps=4", "threads=2", "row_by_row=400", "plugins=[]"):
        assert key in done.stdout
