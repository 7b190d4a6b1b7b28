"""The revision of the code: of the checkout that facekp lies in, and of no other."""

import re
import subprocess

from facekp.runs import revision


def test_it_is_the_commit_of_the_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    found = revision.git_revision()
    if head:
        assert found is not None
        assert re.fullmatch(rf"(.*-g)?{head}(-dirty)?", found)


def test_a_copy_inside_another_checkout_has_none(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    copy = tmp_path / "revision.py"
    copy.touch()
    monkeypatch.setattr(revision, "__file__", str(copy))
    assert revision.git_revision() is None
