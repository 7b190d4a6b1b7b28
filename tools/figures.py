"""`make figures`: writes the measured figures of README and docs into their pages, and measures them again.

A page marks a figure by two comments: ``<!-- figure: NAME.KEY -->TEXT<!-- /figure -->``. The text is a number or a
Markdown table. docs/figures.json records every text with the date, the revision and the commands that measured it.

    python tools/figures.py                   write all pages from the record
    python tools/figures.py cpu ladder        measure these, record them, and write all pages
    python tools/figures.py --keep cpu        record the results that lie in outputs/figures/cpu already
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from facekp.reporting.bench.measurement import Growth, Measurement

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "figures.json"
RESULTS = Path("outputs/figures")
MARKED = re.compile(r"(<!-- figure: ([\w.]+) -->)(.*?)(<!-- /figure -->)", re.DOTALL)
COMPETITION = "6203 of the competition's 7049 labelled rows"
DRAWN = "drawn faces"


@dataclass(frozen=True)
class Figure:
    """A measurement.

    Attributes:
        commands: what is run, one after another; ``{out}`` is the folder of its results.
        read: the texts by key, from the folder of the results.
        data: what it is measured on.
    """

    commands: tuple[str, ...]
    read: Callable[[Path], dict[str, str]]
    data: str = COMPETITION


def measure(name: str, keep: bool) -> dict[str, Any]:
    """Run the commands of a figure and read their results.

    Args:
        name: of `FIGURES`.
        keep: read the results of an earlier call instead.

    Returns:
        the entry of the record: ``date``, ``revision``, ``data``, ``commands``, ``texts``.
    """
    figure, folder = FIGURES[name], ROOT / RESULTS / name
    circumstances = folder / "measured.json"
    commands = [command.format(out=RESULTS / name) for command in figure.commands]
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        entry = {"date": f"{date.today()}", "revision": revision(), "minutes": [run(command) for command in commands]}
        circumstances.write_text(json.dumps(entry))
    entry = json.loads(circumstances.read_text())
    minutes = {f"{name_of(c)}_minutes": f"{m:.1f}" for c, m in zip(commands, entry.pop("minutes"), strict=True)}
    return {**entry, "data": figure.data, "commands": commands, "texts": {**figure.read(folder), **minutes}}


def run(command: str) -> float:
    """Run a command line of facekp with this interpreter.

    Returns:
        its wall-clock minutes.
    """
    print(command, flush=True)
    start = time.monotonic()
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT, check=True)
    return (time.monotonic() - start) / 60


def name_of(command: str) -> str:
    """``train`` of ``python -m facekp.train lr=1e-3``."""
    return command.split()[2].removeprefix("facekp.")


def revision() -> str:
    """The checkout's commit, with ``-dirty`` where files that are measured differ from it."""
    commit = ["git", "rev-parse", "--short=9", "HEAD"]
    name = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "src", "conf"], cwd=ROOT, check=False).returncode
    return f"{name}-dirty" if changed else name


def pages() -> list[Path]:
    """Every page that may hold figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def render(text: str, record: dict[str, Any]) -> str:
    """A page with the recorded texts between its comments.

    Raises:
        KeyError: a figure of the page is not in the record.
    """
    texts = {f"{name}.{key}": value for name, entry in record.items() for key, value in entry["texts"].items()}
    texts["record.table"] = record_table(record)
    return MARKED.sub(lambda match: f"{match[1]}{_spaced(texts[match[2]])}{match[4]}", text)


def _spaced(text: str) -> str:
    """A table stands between empty lines; a number stands in its sentence."""
    return f"\n\n{text}\n\n" if text.startswith("|") else text


def record_table(record: dict[str, Any]) -> str:
    """When, where and how each figure was measured."""
    rows = [
        (name, entry["date"], f"`{entry['revision']}`", entry["data"], "<br>".join(f"`{c}`" for c in entry["commands"]))
        for name, entry in sorted(record.items())
    ]
    return markdown(("figures", "date", "revision", "data", "commands"), rows)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def metrics_of(folder: Path) -> dict[str, Any]:
    """metrics.json of a run."""
    return json.loads((folder / "metrics.json").read_text())


def read_training(folder: Path) -> dict[str, str]:
    """Errors of a run in pixels."""
    metrics = metrics_of(folder / "run")
    errors = {"rmse": "rmse", "dense": "rmse/dense", "sparse": "rmse/sparse", "trimmed": "rmse/trimmed"}
    return {
        **{name: f"{metrics[key]:.3f}" for name, key in errors.items() if key in metrics},
        "mean_face": f"{metrics['mean_face']['rmse']:.3f}",
    }


def read_sweep(folder: Path) -> dict[str, str]:
    """The table of a sweep, best job first."""
    jobs = pd.read_csv(folder / "sweep" / "sweep.csv").sort_values("rmse")
    differs = ["optimizer", "lr", "subset"]
    rows = [[f"{job[key]}" for key in differs] + [f"{job['rmse']:.2f}"] for _, job in jobs.iterrows()]
    return {"table": markdown(["optimizer", "lr", "subset", "RMSE, px"], rows)}


LADDER = (
    ("1 SGD 1e-3, complete rows", "does not learn"),
    ("2 Adam 1e-3, complete rows", "2.92"),
    ("3 Adam 1e-3, all rows, masked", "1.84"),
    ("4 Adam 5e-4, all rows, masked", "1.8086"),
)


def read_ladder(folder: Path) -> dict[str, str]:
    """The table of the ladder's steps beside the published scores."""
    keys = ("rmse", "rmse/dense", "rmse/sparse")
    steps = [metrics_of(folder / "steps" / f"{number}") for number in range(1, len(LADDER) + 1)]
    face = steps[0]["mean_face"]
    rows = [
        [
            name,
            *(f"{step[key]:.3f}" for key in keys),
            f"{step['rmse'] / face['rmse']:.2f}",
            f"{100 * step['below_floor']:.0f} %",
            published,
        ]
        for (name, published), step in zip(LADDER, steps, strict=True)
    ]
    headings = ["step", "validation RMSE, px", "dense", "sparse", "relative to mean face", "predicted by mean face"]
    mean_face = ["mean face", *(f"{face[key]:.3f}" for key in keys), "1.00", "100 %", ""]
    return {"table": markdown([*headings, "leaderboard (other images)"], [*rows, mean_face])}


def read_export(folder: Path) -> dict[str, str]:
    """Size of the exported files, and their difference from the checkpoint."""
    import onnx

    rows = []
    for precision in ("float32", "int8"):
        path = folder / f"{precision}.onnx"
        properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        check = json.loads(properties["facekp"])["check"]
        differences = [f"{check[key]:.2g}" for key in ("furthest", "rms")]
        change = f"{check['rmse'] - check['rmse_checkpoint']:+.4f}"
        rows.append([precision, f"{path.stat().st_size / 1e6:.1f} MB", *differences, change, f"{check['faces']}"])
    headings = ["precision", "file", "largest difference, px", "rms difference, px", "change of RMSE, px", "faces"]
    return {"table": markdown(headings, rows)}


def read_label_noise(folder: Path) -> dict[str, str]:
    """The noise of a single label by source, in pixels, from the page that shows the data."""
    page = (folder / "data.html").read_text()
    content = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    assert content is not None
    blocks = [block for section in json.loads(content[1])["sections"] for block in section["blocks"]]
    scale = next(block["figure"] for block in blocks if block.get("name") == "scale")
    noise = next(line for line in scale["data"] if line["name"] == "noise floor")
    return dict(zip(noise["y"], noise["text"], strict=True))


def read_csv(folder: Path) -> dict[str, str]:
    """The table that a command wrote as results.csv."""
    table = pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False)
    return {"table": markdown(list(table.columns), table.to_numpy().tolist())}


def read_speed(folder: Path) -> dict[str, str]:
    """The machine, the costs beside baselines, and how they grow."""
    results = json.loads((folder / "results.json").read_text())
    measured = [Measurement(**row).cells() for row in results["measurements"]]
    growing = [Growth(**row).cells() for row in results["growth"]]
    return {
        "machine": ", ".join(f"{key} {value}" for key, value in results["machine"].items()),
        "table": markdown(("what", "measured", "baseline", "of the limit", "goal"), measured),
        "growth": markdown(("what", "with", "cost by size", "unit"), growing),
    }


TRAIN = "python -m facekp.train callbacks.progress=false"
FIGURES = {
    "quickstart": Figure((f"{TRAIN} experiment=quickstart out={{out}}/run",), read_training, DRAWN),
    "sweep": Figure(
        (
            f"{TRAIN} -m data=synthetic model=hourglass_small trainer.max_epochs=3 "
            "optimizer=sgd,adam lr=1e-3,5e-4 subset=full,complete hydra.sweep.dir={out}/sweep",
        ),
        read_sweep,
        DRAWN,
    ),
    "cpu": Figure(
        (
            f"{TRAIN} experiment=cpu out={{out}}/run",
            "python -m facekp.evaluate ckpt={out}/run out={out}/evaluation",
            "python -m facekp.submit ckpt={out}/run out={out}/submission.csv",
        ),
        read_training,
    ),
    "ladder": Figure(("python -m facekp.ladder fast=true root={out}/steps",), read_ladder),
    "export": Figure(
        tuple(
            f"python -m facekp.export ckpt=shipped out={{out}}/{precision}.onnx precision={precision} data=kaggle"
            for precision in ("float32", "int8")
        ),
        read_export,
    ),
    "label_noise": Figure(
        ("python -m facekp.report what=data data=kaggle out={out}/data.html",),
        read_label_noise,
    ),
    "detection": Figure(
        (
            "python -m facekp.detection_benchmark ckpt=shipped decoder.shift=0 decoder.scale=0 data=kaggle "
            "out={out}/results.csv",
        ),
        read_csv,
    ),
    "speed": Figure(
        ("python -m facekp.bench rounds=3 runs=1000 out={out}/results.json",),
        read_speed,
    ),
}


def main() -> None:
    """Measure the named figures, then write all pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*FIGURES, []], metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--keep", action="store_true", help="read the results of an earlier call")
    arguments = parser.parse_args()
    record = json.loads(RECORD.read_text())
    for name in arguments.names:
        record[name] = measure(name, arguments.keep)
        RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False) + "\n")
    for page in pages():
        text = page.read_text()
        page.write_text(render(text, record))


if __name__ == "__main__":
    main()
