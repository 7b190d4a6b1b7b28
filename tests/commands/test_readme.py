"""README's tables and make targets; tests/docs runs its commands."""

import re
import shutil
import subprocess

import pytest

from facekp.__main__ import COMMANDS
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
GUIDES = README + (REPOSITORY / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", GUIDES))))
def test_every_make_target_named_exists(target):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_lists_every_command_and_no_other():
    listed = re.findall(r"^\| `([\w.]+)` \| [a-z]", README, flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)
