"""Every command of the README runs, at a small scale, in a fresh process."""

import re
import shlex
import shutil
import subprocess

import cv2
import pytest

from facekp.data.readers.competition import write_test, write_training
from facekp.data.synthetic.faces import draw_faces
from tests.conftest import REPOSITORY, TINY, facekp

BLOCKS = re.findall(r"```bash\n(.*?)```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
MODULES = [command for command in COMMANDS if command.startswith("python -m facekp.")]
SMALL = {
    "train": [o for o in TINY if not o.startswith(("data=", "trainer.max_epochs"))],
    "evaluate": ["data.rows=60"],
    "submit": [],
    "pack": [],
    "calibrate": ["data.rows=120"],
    "export": ["data.rows=40", "check=8", "force=true"],
    "predict": [],
    "report": ["faces=2", "resamples=100"],
    "dashboard": [],
    "data.synthetic": ["data.rows=20", "test_rows=3"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory, scheme):
    """A folder with drawn faces where the README expects the competition's files."""
    folder = tmp_path_factory.mktemp("readme")
    faces = draw_faces(60, 0, scheme)
    write_training(folder / "data" / "kaggle" / "training.csv", faces)
    write_test(folder / "data" / "kaggle", faces, faces.mask)
    cv2.imwrite(str(folder / "photo.jpg"), faces.images[0])
    return folder


def small(command):
    name, *arguments = shlex.split(command)[2:]
    name = name.removeprefix("facekp.")
    more = [] if any(a.startswith("resume=") for a in arguments) else SMALL[name]
    if name == "train" and not any("max_epochs" in a for a in arguments):
        more = [*more, "trainer.max_epochs=1"]
    if "hparams_search=optuna" in arguments:
        more = [*more, "hparams_search.trials=2"]
    given = {a.split("=")[0] for a in arguments}
    return name, [*arguments, *(o for o in more if o.split("=")[0] not in given or "rows" in o)]


def test_the_commands_run_in_their_order(home):
    assert len(MODULES) >= 8
    for command in MODULES:
        name, arguments = small(command)
        done = facekp(name, *arguments, cwd=home, FACEKP_CACHE=str(home / "cache"))
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (home / "submission.csv").is_file()
    sweeps = sorted((home / "outputs" / "sweeps").glob("*/*/metrics.json"))
    assert len(sweeps) == 8 + 5 + 2
    assert any("optimizer-sgd" in str(path) and "subset-full" in str(path) for path in sweeps)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z]+)", (REPOSITORY / "README.md").read_text()))))
def test_every_make_target_named_exists(target):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_choice_and_command_named_exists():
    text = (REPOSITORY / "README.md").read_text()
    for group, choices in re.findall(r"^\| `(\w+)` \| (`.*) \|$", text, flags=re.MULTILINE):
        for choice in re.findall(r"`([\w/.-]+)`", choices):
            assert (REPOSITORY / "conf" / group / f"{choice}.yaml").is_file(), f"{group}={choice}"
    for command in re.findall(r"^\| `([\w.]+)` \| [a-z]", text, flags=re.MULTILINE):
        assert (REPOSITORY / "src" / "facekp" / f"{command.replace('.', '/')}.py").is_file(), command


def test_every_picture_and_file_linked_exists():
    text = (REPOSITORY / "README.md").read_text()
    for path in re.findall(r"\]\(([^)#]+)\)", text):
        assert (REPOSITORY / path).is_file(), path
