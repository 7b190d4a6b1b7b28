"""`make gpu-check`: everything that needs a GPU, measured in one call of a few minutes.

    python -m tools.gpu_check data=DIR                        the competition's files in DIR; writes docs/gpu.json
    python -m tools.gpu_check device=cpu toy=true out=/tmp/gpu.json      the same code at toy size, without a GPU

Arguments: minutes=8 (of all sections together), sections=NAME,NAME (of `SECTIONS`; all if left out), device=gpu|cpu,
toy=true|false, data=DIR, out=FILE, keep=DIR (for the checkpoint of experiment=best), revision=TEXT (where the code is
no checkout). The sections run in the order of `SECTIONS`. One that fails is one line in the table. The file is written
after every figure, so a stop loses none.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tools.gpu.accuracy import train_best, train_ladder
from tools.gpu.exactness import check_predictor, check_resume
from tools.gpu.plan import Plan
from tools.gpu.record import Record
from tools.gpu.speed import measure_machine, measure_training

from facekp.core.console import show
from facekp.core.device import choose_device
from facekp.runs.environment import environment

DEFAULTS = {
    "minutes": "8",
    "sections": "",
    "device": "gpu",
    "toy": "false",
    "data": "",
    "out": "docs/gpu.json",
    "keep": "",
    "revision": "",
}
FOR_SPEED = 0.4  # of the time: the speed of training; half of it is compiling
FOR_BEST = 90.0  # seconds that the ladder leaves for `experiment=best`
FOR_CHECKS = 45.0  # seconds of the other sections where no network is trained to its end
TRAINED = {"ladder", "best"}  # sections that train as long as the time allows
SECTIONS: tuple[tuple[str, Callable[[Plan], None]], ...] = (
    ("machine", measure_machine),
    ("training", lambda plan: measure_training(plan, plan.seconds_for_speed)),
    ("resume", check_resume),
    ("predictor", check_predictor),
    ("ladder", train_ladder),
    ("best", train_best),
)


def arguments_of(texts: Sequence[str]) -> dict[str, str]:
    """The arguments ``key=value``, with defaults.

    Raises:
        SystemExit: there is no such argument.
    """
    given = dict(text.partition("=")[::2] for text in texts)
    if unknown := given.keys() - DEFAULTS.keys():
        sys.exit(f"{sorted(unknown)[0]}: unknown argument; give {', '.join(f'{key}=' for key in DEFAULTS)}")
    return {**DEFAULTS, **given}


def check(arguments: dict[str, str], scratch: Path) -> Record:
    """Run the sections.

    Args:
        arguments: of `arguments_of`.
        scratch: an empty folder for runs.
    """
    device = choose_device("cuda" if arguments["device"] == "gpu" else arguments["device"])
    record = Record(Path(arguments["out"]), float(arguments["minutes"]))
    about = environment()
    revision = arguments["revision"] or about["revision"]
    record.about = {
        "device": about["gpu"] or about["processor"],
        **about,
        "revision": revision,
        "toy": arguments["toy"],
    }
    folders = (Path(arguments[key]).resolve() if arguments[key] else None for key in ("data", "keep"))
    data, keep = folders
    known = [name for name, _ in SECTIONS]
    names = arguments["sections"].split(",") if arguments["sections"] else known
    if unknown := set(names) - set(known):
        sys.exit(f"sections={min(unknown)}: there is {', '.join(known)}")
    seconds = 60 * record.minutes
    for_speed = FOR_SPEED * seconds if TRAINED & set(names) else seconds - FOR_CHECKS
    plan = Plan(
        record, device, data, arguments["toy"] == "true", scratch, keep, for_speed, FOR_BEST if "best" in names else 0.0
    )
    if data is None and not plan.toy:
        sys.exit("data=: give the folder of the competition's files, or toy=true for drawn faces")
    for name, section in SECTIONS:
        if name not in names:
            continue
        try:
            section(plan)
        except Exception as error:
            record.fail(name, error)
    return record


def main() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for trainer.deterministic=true; read when CUDA starts
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    torch.set_float32_matmul_precision("high")  # as facekp.train sets it
    shared_memory = Path("/dev/shm")  # writing checkpoints there waits for no disk
    arguments = arguments_of(sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as scratch:
        record = check(arguments, Path(scratch))
    show(record.table())


if __name__ == "__main__":
    main()
