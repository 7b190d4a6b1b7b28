"""`facekp COMMAND ...` is `python -m facekp.COMMAND ...`."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from facekp import __version__

COMMANDS = {
    "train": "train a network: facekp train optimizer=adam lr=5e-4",
    "evaluate": "score checkpoints on held-out images: facekp evaluate ckpt=FILE",
    "submit": "predict the competition's test images: facekp submit ckpt=FILE out=submission.csv",
    "predict": "predict the points of all faces in photos, folders and videos: facekp predict photo.jpg ...",
    "report": "write a page that compares runs, or one that shows the data: facekp report outputs/...",
    "app": "serve a web page for photos and the webcam, on this machine only: facekp app",
    "pack": "shrink a checkpoint to what prediction needs: facekp pack ckpt=FILE out=FILE",
    "calibrate": "make a checkpoint predict the error of each point: facekp calibrate ckpt=FILE out=FILE",
    "export": "write an ONNX or torch.export graph: facekp export ckpt=FILE out=FILE.onnx",
    "ladder": "train the four steps of the published system that facekp started from",
    "ablation": "train variants that differ in one setting each, and tabulate them",
    "dashboard": "build a W&B workspace that compares runs",
    "detection_benchmark": "measure how much accuracy face detection and cropping cost",
    "bench": "measure speed and memory, and compare them with simple baselines",
    "data.inspect": "recognise a label file and list its problems: facekp data.inspect FILE",
    "data.convert": "write a label file in another format: facekp data.convert FILE out=DIR format=NAME",
    "data.synthetic": "write drawn faces in the competition's format: facekp data.synthetic out=DIR",
}
FORMER = {"scenes": "detection_benchmark"}  # former names, which still work


def main() -> None:
    """Run the command that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "help"
    if name in ("-sc", "--shell-completion"):
        _complete(sys.argv[2:])
    elif name in COMMANDS or name in FORMER:
        _run(name, sys.argv[2:])
    elif name in ("--version", "-V", "version"):
        print(f"facekp {__version__}")
    elif name in ("-h", "--help", "help"):
        print(usage())
    else:
        from facekp.core.settings import did_you_mean

        hint = did_you_mean(name, COMMANDS)
        print(f"facekp: error: there is no command {name!r}{hint or '; facekp lists the commands'}", file=sys.stderr)
        sys.exit(2)


def usage() -> str:
    """The list of commands."""
    lines = [f"  {command:20} {what}" for command, what in COMMANDS.items()]
    more = [
        "",
        "facekp COMMAND --help lists the settings of a command; facekp --version prints the version.",
        'Completion in bash: eval "$(facekp -sc install=bash)"',
    ]
    return "\n".join(["usage: facekp COMMAND [key=value ...]", "", *lines, *more])


def _run(name: str, arguments: Sequence[str]) -> None:
    sys.argv = [f"facekp {name}", *arguments]
    runpy.run_module(f"facekp.{name}", run_name="__main__", alter_sys=True)


def _complete(arguments: Sequence[str]) -> None:
    """Shell completion: the names of commands, then the keys and choices of the command, by Hydra's own completion.

    Hydra's scripts call ``facekp -sc query=SHELL`` with the typed line in COMP_LINE.
    """
    line = os.environ.get("COMP_LINE", "")
    words = line.split(" ")
    command = words[1] if len(words) > 2 else ""
    if any(argument.startswith("query=") for argument in arguments):
        if command not in COMMANDS:
            typed = words[1] if len(words) > 1 else ""
            print(" ".join(name for name in COMMANDS if name.startswith(typed)))
            return
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    sys.argv = ["facekp", "-sc", *arguments]  # Hydra takes the program's name from here, so it must stay
    runpy.run_module(f"facekp.{command or 'train'}", run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
