"""The console script `facekp`: its commands, version, typos and shell completion."""

import os
import shutil
import subprocess
import sys

import pytest

from facekp import __version__
from facekp.__main__ import COMMANDS, FORMER


def script(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "facekp", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


def test_alone_it_lists_the_commands(tmp_path):
    for arguments in ((), ("--help",)):
        shown = script(*arguments, cwd=tmp_path)
        assert shown.returncode == 0
        assert all(f"  {name} " in shown.stdout for name in COMMANDS)


def test_the_version_is_the_package_s(tmp_path):
    assert script("--version", cwd=tmp_path).stdout == f"facekp {__version__}\n"


def test_a_mistyped_command_names_the_nearest(tmp_path):
    shown = script("trian", cwd=tmp_path)
    assert shown.returncode == 2
    assert shown.stderr == "facekp: error: there is no command 'trian'; did you mean train?\n"


def test_a_former_name_still_works_and_names_the_new_one(tmp_path):
    for former, name in FORMER.items():
        shown = script(former, "ckpt=no.ckpt", cwd=tmp_path)
        assert shown.returncode == 2
        assert name in shown.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("facekp ", set(COMMANDS)),
        ("facekp ev", {"evaluate"}),
        ("facekp train optimizer=", {f"optimizer={name}" for name in ("adam", "adamw", "muon", "sgd")}),
        ("facekp train model.network.bl", {"model.network.block="}),
        ("facekp predict detector=", {"detector=haar", "detector=none", "detector=yunet"}),
    ],
)
def test_shell_completion_offers_commands_then_keys_and_choices(line, offered, tmp_path):
    shown = script("-sc", "query=bash", cwd=tmp_path, COMP_LINE=line)
    assert shown.returncode == 0, shown.stderr
    assert set(shown.stdout.split()) == offered


def test_the_completion_script_works_in_bash(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (tmp_path / "facekp").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from facekp.__main__ import main; main()" "$@"\n'
    )
    (tmp_path / "facekp").chmod(0o755)
    lines = [
        'eval "$(facekp -sc install=bash)"',
        'COMP_LINE="facekp train optimizer=mu" COMP_POINT=25 COMP_CWORD=2',
        'hydra_bash_completion; echo "offered: ${COMPREPLY[*]}"',
        "complete -p facekp",
    ]
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    shown = subprocess.run(
        [bash, "-c", "\n".join(lines)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "offered: optimizer=muon" in shown.stdout, shown.stdout + shown.stderr
    assert "hydra_bash_completion facekp" in shown.stdout
