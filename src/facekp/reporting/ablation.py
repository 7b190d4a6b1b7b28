"""`python -m facekp.ablation`: trains rows that differ in one thing each, and tabulates what came out of them.

A row of conf/ablation.yaml is a training over some seeds, or a scoring of what such rows trained: together, or with
another decoder. Every run is a command of its own with a folder root/NAME/SEED, and all that is tabulated is read from
there: Markdown between two comments of a document, every run's figures as CSV, a picture of RMSE against minutes.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from rich.table import Table

from facekp.config.command import key_of
from facekp.config.rules import FLAG, GROUP, TEXT, TEXTS, Rule
from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import atomic, write_csv, write_text
from facekp.core.keypoints import Keypoints
from facekp.runs.folder import RunFolder
from facekp.runs.sequence import BEST, is_finished, run_unless_finished

log = logging.getLogger(__name__)
BEGIN, END = "<!-- ablation -->", "<!-- /ablation -->"

NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")

UNTOLD = ("seed", "out", "data.dir")  # overrides that are no part of the command a row is told by

REVISION_DIGITS = 9

TICKS = (1, 1.2, 1.4, 1.7, 2, 2.5, 3, 4, 5, 7)  # of every decade of the picture

CIRCUMSTANCES = ("runs", "minutes", "parameters", "command", "revision")  # columns beside the errors

ROW: dict[str, Rule] = {
    "name": (lambda value: isinstance(value, str) and bool(NAME.fullmatch(value)), "small letters, digits, - and _"),
    "what": TEXT,
    "seeds": (
        lambda value: (
            isinstance(value, list)
            and all(type(seed) is int and seed >= 0 for seed in value)
            and len(set(value)) == len(value) > 0
        ),
        "a list of different whole numbers from 0 up",
    ),
    "from": TEXT,
    "train": TEXTS,
    "evaluate": GROUP,
}

EVALUATE: dict[str, Rule] = {"ckpt": TEXTS, "each": FLAG, "overrides": TEXTS}


@dataclass(frozen=True)
class Run:
    """A command of a row.

    Attributes:
        row: the row's name.
        seed: of the training, or of what is scored; 0 where several seeds are scored together.
        command: ``train`` or ``evaluate``.
        overrides: what it is called with, without ``out=``.
        folder: what it leaves.
        needs: folders of trainings that must be finished before.
    """

    row: str
    seed: int
    command: str
    overrides: list[str]
    folder: Path
    needs: list[Path]


def read_rows(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of conf/ablation.yaml, with what a row needn't give filled in.

    Raises:
        UserError: a row is not what it must be, two have one name, or a name is asked for that no row has.
    """
    rows = [_read_row(row) for row in config["rows"]]
    names = [row["name"] for row in rows]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"rows: {twice[0]} stands {len(twice)} times; the name is the row's folder, give each its own")
    trained: dict[str, dict[str, Any]] = {}  # by name, the rows so far that train
    for row in rows:
        if "from" in row:
            _check_known(f"rows: {row['name']}: from", [row["from"]], list(trained))
            row["train"] = _over(trained[row["from"]]["train"], row["train"])
        for scored in row["evaluate"]["ckpt"] if "evaluate" in row else []:
            if NAME.fullmatch(scored) and scored != "shipped":
                _check_known(f"rows: {row['name']}: ckpt", [scored], list(trained))
                _check_seeds(row, trained[scored])
        if "train" in row:
            trained[row["name"]] = row
    _check_known("only", config["only"] or [], names)
    _check_known("picture.rows", config["picture"]["rows"], list(trained))
    return rows


def _check_seeds(row: dict[str, Any], scored: dict[str, Any]) -> None:
    untrained = sorted(set(row["seeds"]) - set(scored["seeds"]))
    if untrained:
        raise UserError(
            f"rows: {row['name']}: seeds: {untrained[0]} is none of those that {scored['name']} trains, "
            f"{', '.join(map(str, scored['seeds']))}"
        )


def _over(before: list[str], more: list[str]) -> list[str]:
    """Overrides of a row that stands on another: the other's but for the keys it sets itself, then its own."""
    own = {key_of(override) for override in more}
    return [*(override for override in before if key_of(override) not in own), *more]


def _read_row(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping) or not {"name", "what"} <= set(row) or ("train" in row) == ("evaluate" in row):
        raise UserError(f"rows: {row}: a row needs name, what and one of train, evaluate")
    _check_rules(f"rows: {row['name']}", row, ROW)
    if "from" in row and "train" not in row:
        raise UserError(f"rows: {row['name']}: from is for rows that train; what one scores stands in evaluate.ckpt")
    filled = {"seeds": [0], **row}
    if "evaluate" in row:
        filled["evaluate"] = {"ckpt": [], "each": False, "overrides": [], **row["evaluate"]}
        _check_rules(f"rows: {row['name']}: evaluate", filled["evaluate"], EVALUATE)
        if not filled["evaluate"]["ckpt"]:
            raise UserError(f"rows: {row['name']}: evaluate: ckpt is needed: names of trained rows, or files")
    return filled


def _check_rules(place: str, values: Mapping[str, Any], rules: dict[str, Rule]) -> None:
    for key, value in values.items():
        if key not in rules:
            raise UserError(f"{place}: {key} is unknown; choose among {', '.join(rules)}")
        if not rules[key][0](value):
            raise UserError(f"{place}: {key}={value}: must be {rules[key][1]}")


def _check_known(place: str, given: list[str], known: list[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError(f"{place}: {unknown[0]} is none of the rows {', '.join(known)}")


def runs_of(row: dict[str, Any], config: dict[str, Any]) -> list[Run]:
    """The commands of a row, in the order of its seeds."""
    folder = Path(config["root"]) / row["name"]
    if "train" in row:
        overrides = [*config["train"], *row["train"]]
        return [
            Run(row["name"], seed, "train", [*overrides, f"seed={seed}"], folder / str(seed), [])
            for seed in row["seeds"]
        ]
    each = row["evaluate"]["each"]
    groups = [[seed] for seed in row["seeds"]] if each else [row["seeds"]]
    return [_scoring(row, group, folder / str(group[0] if each else 0), config) for group in groups]


def _scoring(row: dict[str, Any], seeds: list[int], folder: Path, config: dict[str, Any]) -> Run:
    """One command of facekp.evaluate: the rows named, by their checkpoints of these seeds, and the files given."""
    names = [other["name"] for other in config["rows"]]
    needs, files = [], []
    for given in row["evaluate"]["ckpt"]:
        trained = [Path(config["root"]) / given / str(seed) for seed in seeds] if given in names else []
        needs += trained
        files += [str(one / BEST) for one in trained] or [given]
    data = [override for override in config["train"] if override.startswith(("data=", "data."))]
    ckpt = files[0] if len(files) == 1 else f"[{','.join(files)}]"
    overrides = [f"ckpt={ckpt}", *data, *row["evaluate"]["overrides"]]
    return Run(row["name"], int(folder.name), "evaluate", overrides, folder, needs)


def perform(run: Run) -> None:
    """Run it unless it is finished.

    Raises:
        UserError: what is to be scored is not trained.
    """
    missing = [] if is_finished(run.folder) else [one for one in run.needs if not is_finished(one)]
    if missing:
        raise UserError(
            f"rows: {run.row}: {missing[0]} holds no finished training to score; put its row before this one"
        )
    run_unless_finished(run.command, [*run.overrides, f"out={run.folder}"], run.folder)


def read_runs(done: list[Run], sources: list[str]) -> pd.DataFrame:
    """What finished runs left.

    Args:
        done: the runs.
        sources: names of the labelling conventions.

    Returns:
        a row a run: ``row``, ``seed``, RMSE in pixels by the names of metrics.json, ``minutes``, ``parameters``,
        ``revision``, ``command``; NaN where a run tells no such figure.
    """
    figures = [*_errors(sources), "minutes", "parameters"]
    return pd.DataFrame([_read_run(run) for run in done], columns=["row", "seed", *figures, "revision", "command"])


def _errors(sources: list[str]) -> dict[str, str]:
    """Keys of metrics.json that are tabulated, and the headings they get."""
    return {"rmse": "RMSE, px", **{f"rmse/{name}": name for name in sources}, "rmse/trimmed": "without worst 1 %"}


def _read_run(run: Run) -> dict[str, Any]:
    overrides = _told(yaml.safe_load((run.folder / "overrides.yaml").read_text()))
    if overrides != _told(run.overrides):
        log.warning("%s: run with %s, which rows no longer says; told as run", run.folder, " ".join(overrides))
    return {
        **RunFolder(run.folder).read_metrics(),
        "row": run.row,
        "seed": run.seed,
        "revision": (run.folder / "git.txt").read_text().strip(),
        "command": shlex.join(["python", "-m", f"facekp.{run.command}", *overrides]),
    }


def _told(overrides: list[str]) -> list[str]:
    return [override for override in overrides if key_of(override) not in UNTOLD]


def tabulate(found: pd.DataFrame, rows: list[dict[str, Any]], sources: list[str]) -> pd.DataFrame:
    """The table to be read: a line for each row that a run was found of, all cells as text.

    Args:
        found: of `read_runs`.
        rows: of `read_rows`.
        sources: names of the labelling conventions.
    """
    lines = []
    for row in rows:
        own = found[found["row"] == row["name"]]
        if len(own):
            errors = {heading: _spread(own[key]) for key, heading in _errors(sources).items()}
            lines.append({"row": row["name"], "what differs": row["what"], **errors, **_circumstances(own)})
    left_out = [row["name"] for row in rows if row["name"] not in set(found["row"])]
    if left_out:
        log.info("left out, no finished run yet: %s", ", ".join(left_out))
    headings = ["row", "what differs", *_errors(sources).values(), *CIRCUMSTANCES]
    return pd.DataFrame(lines, columns=headings)


def _circumstances(own: pd.DataFrame) -> dict[str, str]:
    """The cells of a row beside its errors."""
    revisions = {"" if " " in text else text[:REVISION_DIGITS] for text in own["revision"]}  # "no checkout" is none
    minutes, parameters = own["minutes"].dropna(), own["parameters"].dropna()
    cells = [
        str(len(own)),
        f"{minutes.mean():.1f}" if len(minutes) else "",
        f"{parameters.mean():,.0f}" if len(parameters) else "",
        f"`{_one_command(own)}`",
        revisions.pop() if len(revisions) == 1 else "mixed",
    ]
    return dict(zip(CIRCUMSTANCES, cells, strict=True))


def _spread(figures: pd.Series) -> str:
    """Mean and sample standard deviation over the runs that tell the figure."""
    told = figures.dropna().astype(float)
    if len(told) < 2:
        return "".join(f"{figure:.3f}" for figure in told)
    return f"{told.mean():.3f} ± {told.std():.3f}"


def _one_command(own: pd.DataFrame) -> str:
    """The command of all runs of a row, SEED standing for what differs where every seed is scored on its own."""
    commands = set(own["command"])
    if len(commands) > 1:
        pairs = zip(own["seed"], own["command"], strict=True)
        commands = {command.replace(f"/{seed}/{BEST}", f"/SEED/{BEST}") for seed, command in pairs}
    return commands.pop() if len(commands) == 1 else "mixed"


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Put the table between the document's two comments; the rest stays as it is.

    Raises:
        UserError: the document lacks one of them.
    """
    before, after = split_document(path)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    write_text(path, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def split_document(path: Path) -> tuple[str, str]:
    """What stands before and after the table; a document that doesn't exist holds nothing else.

    Raises:
        UserError: it lacks one of the comments.
    """
    text = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"out={path}: lacks {END if begin else BEGIN}; write {BEGIN} and {END} where the table belongs")
    return before, after


def terminal_table(table: pd.DataFrame) -> Table:
    """The table without its long cells."""
    shown = Table(title="validation RMSE in pixels, mean ± standard deviation over runs")
    narrow = table.drop(columns=["what differs", "command"])
    for heading in narrow.columns:
        shown.add_column(heading, justify="left" if heading == "row" else "right")
    for line in narrow.to_numpy().tolist():
        shown.add_row(*line)
    return shown


def draw_minutes(curves: dict[str, pd.DataFrame]) -> Figure:
    """Validation RMSE against minutes of training, both on logarithmic axes.

    Args:
        curves: metrics.csv by the row's name.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    for name, curve in curves.items():
        told = curve.dropna(subset="val/rmse")
        ax.plot(told["minutes"], told["val/rmse"], marker="o", markersize=3, label=name)
    ax.set(xlabel="minutes of training", ylabel="validation RMSE, pixels", xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=TICKS))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def write_picture(config: dict[str, Any]) -> None:
    """Draw the rows asked for that have curves, by their seed 0."""
    folders = {name: Path(config["root"]) / name / "0" for name in config["picture"]["rows"]}
    read = {name: RunFolder(folder).read_curves() for name, folder in folders.items() if is_finished(folder)}
    curves = {name: curve for name, curve in read.items() if "minutes" in curve}
    if not curves:
        log.info("no picture: none of its rows has curves yet")
        return
    path = Path(config["picture"]["out"])
    with atomic(path) as draft:
        draw_minutes(curves).savefig(draft, format="png", dpi=110)
    log.info("written: %s", path)


def tell(config: dict[str, Any]) -> pd.DataFrame:
    """Show and write what is there of all rows.

    Args:
        config: as conf/ablation.yaml composes it, the rows of `read_rows`.

    Returns:
        the table (`tabulate`).
    """
    sources = Keypoints.from_dict(config["keypoints"]).source_names
    every = [run for row in config["rows"] for run in runs_of(row, config)]
    found = read_runs([run for run in every if is_finished(run.folder)], sources)
    table = tabulate(found, config["rows"], sources)
    show(terminal_table(table))
    if config["out"] is not None:
        out = Path(config["out"])
        write_table(out, table)
        write_csv(out.with_suffix(".csv"), found)
        log.info("written: %s, %s", out, out.with_suffix(".csv"))
    if config["picture"]["out"] is not None:
        write_picture(config)
    return table
