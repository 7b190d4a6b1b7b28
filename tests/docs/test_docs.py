"""The documentation: its commands run, its links lead somewhere, and the site builds without a warning."""

import json
import os
import re
import subprocess
import sys
import textwrap

import cv2
import pytest

from facekp.data.competition.writing import write_test, write_training
from facekp.data.synthetic.faces import draw_faces
from tests.conftest import REPOSITORY, facekp
from tests.documented_commands import command_lines, pages, problems, small
from tests.forked import run_module
from tests.photos.conftest import write_video

README = REPOSITORY / "README.md"
TUTORIAL = REPOSITORY / "docs" / "own_landmarks.md"  # tests/commands/test_tutorial.py runs it on photos
ACCURACY = REPOSITORY / "docs" / "accuracy.md"  # hours of training
FIRST = [README, REPOSITORY / "docs" / "tutorials" / "first_run.md"]  # what a newcomer types
PAGES = pages() if os.environ.get("FACEKP_PAGES") == "all" else FIRST  # commands of the others are checked, not run
RUN = [page for page in PAGES if page not in (TUTORIAL, ACCURACY) and command_lines(page)]
NAMES = [str(page.relative_to(REPOSITORY)) for page in RUN]


@pytest.fixture(scope="module")
def home(tmp_path_factory, scheme):
    """A folder with drawn faces where the competition's files are expected, a photo and a video."""
    folder = tmp_path_factory.mktemp("docs")
    faces = draw_faces(60, 0, scheme)
    write_training(folder / "data" / "kaggle" / "training.csv", faces)
    write_test(folder / "data" / "kaggle", faces, faces.mask)
    cv2.imwrite(str(folder / "photo.jpg"), faces.images[0])
    write_video(folder / "clip.mp4", faces.images[0], 3)
    return folder


def commands_of(name):
    """The commands of a page, without those that the README runs in the same words."""
    page = REPOSITORY / name
    known = set(command_lines(README)) if page != README else set()
    return [command for command in command_lines(page) if command not in known or "out=outputs/first" in command]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(900)
def test_the_commands_of_a_page_run_in_their_order(name, home, tmp_path):
    for entry in ("data", "photo.jpg", "clip.mp4"):
        (tmp_path / entry).symlink_to(home / entry)
    for command in commands_of(name):
        command_name, arguments = small(command)
        done = facekp(command_name, *arguments, cwd=tmp_path, FACEKP_CACHE=str(home / "cache"))
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    if name == "README.md":
        assert (tmp_path / "submission.csv").is_file()
        assert len(list((tmp_path / "outputs" / "sweeps").glob("*/*/metrics.json"))) == 8


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_line_names_commands_choices_and_keys_that_exist(page):
    lines = command_lines(page, "bash|console")
    wrong = {line: found for line in lines if (found := list(problems(line)))}
    assert wrong == {}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_to_one(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")) and "reference/settings" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.timeout(900)
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    # the builder dummy reads every page and resolves every reference; it leaves out the HTML, two thirds of the time
    quick = ["-b", "dummy", "-D", "autodoc_typehints=none"]
    code = "import gc, sys; gc.disable(); from sphinx.cmd.build import main; sys.exit(main())"  # a sixth of the rest
    build = [sys.executable, "-c", code, *quick, "-W", "--keep-going", "-q", "docs", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "optimizer=muon" in (REPOSITORY / "docs" / "reference" / "settings" / "group_optimizer.md").read_text()


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = json.loads((REPOSITORY / "examples" / "notebooks" / "quickstart.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    code = "import matplotlib; matplotlib.use('Agg')\n" + "\n".join(cells)
    (tmp_path / "quickstart.py").write_text(code)
    done = run_module("quickstart", [], tmp_path, os.environ)
    assert done.returncode == 0, done.stderr
    assert "RMSE" in done.stdout


def test_python_blocks_compile():
    for page in pages():
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
            compile(textwrap.dedent(block), str(page), "exec")
