"""Tables of an ablation, made of what finished runs left in their folders.

The table is Markdown between two comments of a document. Beside the document lies a CSV with a row per run, and a
picture shows RMSE against minutes of training.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from rich.table import Table

from facekp.config.arguments import key_of
from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import atomic, write_csv, write_text
from facekp.core.outputs import output_file
from facekp.core.plain_files import DamagedFile, read_text
from facekp.reporting.ablation_rows import AblationRun, AblationSettings, PictureSettings, RowSettings, runs_of
from facekp.runs.folder import NO_CHECKOUT, RunFolder
from facekp.runs.sequence import replaced_checkpoints, shown_overrides, warn_of_changed_overrides

log = logging.getLogger(__name__)
BEGIN, END = "<!-- ablation -->", "<!-- /ablation -->"
REVISION_DIGITS = 9
TICKS = (1, 1.2, 1.4, 1.7, 2, 2.5, 3, 4, 5, 7)  # of every decade of the picture
DETAILS = ("runs", "minutes", "parameters", "command", "revision")  # columns after the errors


def check_outputs(settings: AblationSettings) -> None:
    """Refuse output files that can't be written, or that would replace something else.

    Raises:
        UserError: a file is a folder or can't be made, the document lacks one of the comments, the CSV beside it is not
            of an ablation, or the picture is one of the two.
    """
    files: list[Path] = []
    if settings.out is not None:
        document = Path(settings.out)
        split_document(document)
        files = [document, document.with_suffix(".csv")]
        if files[1].is_file() and not files[1].read_bytes().startswith(b"row,seed,"):
            raise UserError(
                f"out={document}: would replace {files[1]}, which is not of an ablation; choose another name"
            )
    picture = settings.picture.out
    if picture is not None and Path(picture).resolve() in [path.resolve() for path in files]:
        raise UserError(f"picture.out={picture}: is out= or its .csv; choose another name")
    for key, path in [*(("out", path) for path in files), *([("picture.out", picture)] if picture else [])]:
        with output_file(str(path), overwrite=True, key=key):
            pass


def write_results(settings: AblationSettings) -> pd.DataFrame:
    """Show and write the finished runs of all rows.

    Returns:
        the table (`tabulate`).
    """
    sources = settings.keypoints.source_names
    runs = [run for row in settings.rows for run in runs_of(row, settings)]
    results = read_results([run for run in runs if run.folder.is_finished()], sources)
    table = tabulate(results, settings.rows, sources)
    show(terminal_table(table))
    if settings.out is not None:
        document = Path(settings.out)
        write_table(document, table)
        write_csv(document.with_suffix(".csv"), results.drop(columns="data"))
        log.info("written: %s, %s", document, document.with_suffix(".csv"))
    if settings.picture.out is not None:
        folders = {name: settings.run_folder(name, 0) for name in settings.picture.rows}
        write_picture(settings.picture, folders)
    return table


def read_results(finished: Sequence[AblationRun], sources: Sequence[str]) -> pd.DataFrame:
    """The metrics of finished runs.

    Args:
        finished: the runs.
        sources: names of the labelling conventions.

    Returns:
        a row per run: ``row``, ``seed``, RMSE in pixels by the names of metrics.json, ``minutes``, ``parameters``,
        ``revision``, ``command``, ``data``; NaN where a run has no such value.
    """
    columns = ["row", "seed", *_errors(sources), "minutes", "parameters", "revision", "command", "data"]
    return pd.DataFrame([_read_result(run) for run in finished], columns=columns)


def _errors(sources: Sequence[str]) -> dict[str, str]:
    """Headings of the errors in the table, by their key in metrics.json."""
    return {"rmse": "RMSE, px", **{f"rmse/{name}": name for name in sources}, "rmse/trimmed": "without worst 1 %"}


def _read_result(run: AblationRun) -> dict[str, Any]:
    overrides = shown_overrides(run.folder.read_overrides())
    warn_of_changed_overrides(run.folder, run.overrides)
    for checkpoint in replaced_checkpoints(run.folder, run.needs):
        log.warning(
            "%s: was run before %s was written. The old result is shown; remove the folder to run it again",
            run.folder,
            checkpoint,
        )
    return {
        **run.folder.read_metrics(),
        "row": run.row,
        "seed": run.seed,
        "revision": run.folder.read_revision() or NO_CHECKOUT,
        "command": shlex.join(["python", "-m", f"facekp.{run.command}", *overrides]),
        "data": _data_of(run.folder),
    }


def _data_of(folder: RunFolder) -> str:
    """Which data a run read: by their labels, of an older run by its settings, of an evaluation by its overrides."""
    if folder.config.is_file():
        data, content = folder.read_config()["data"], folder.read_data()
        if "labels" in content:
            return f"name={data['name']} labels={content['labels'][:REVISION_DIGITS]}"
        return " ".join(f"{key}={data[key]}" for key in ("name", "dir", "images", "labels", "seed") if key in data)
    return " ".join(override for override in folder.read_overrides() if key_of(override).split(".")[0] == "data")


def tabulate(results: pd.DataFrame, rows: Sequence[RowSettings], sources: Sequence[str]) -> pd.DataFrame:
    """The table for readers: a line for each row that has a finished run, all cells as text.

    Args:
        results: of `read_results`.
        rows: all rows.
        sources: names of the labelling conventions.
    """
    lines = []
    for row in rows:
        runs = results[results["row"] == row.name]
        if len(runs):
            errors = {heading: _mean_and_deviation(runs[key]) for key, heading in _errors(sources).items()}
            if runs["data"].nunique() > 1:
                log.warning("row %s: its runs read different data (%s)", row.name, "; ".join(runs["data"].unique()))
                errors = dict.fromkeys(errors, "different data")
            lines.append({"row": row.name, "what differs": row.what, **errors, **_details(runs)})
    _warn_of_mixed_data(results)
    left_out = [row.name for row in rows if row.name not in set(results["row"])]
    if left_out:
        log.info("left out, no finished run yet: %s", ", ".join(left_out))
    return pd.DataFrame(lines, columns=["row", "what differs", *_errors(sources).values(), *DETAILS])


def _warn_of_mixed_data(results: pd.DataFrame) -> None:
    """Warn of rows that read different data of one kind, such as two folders of ``data=kaggle``."""
    data = results["data"][results["data"].str.startswith("name=")].drop_duplicates()
    for _, different in data.groupby(data.str.split().str[0]):
        if len(different) > 1:
            log.warning("rows read different data (%s), so their errors do not compare", "; ".join(different))


def _details(runs: pd.DataFrame) -> dict[str, str]:
    """The cells of a row after its errors."""
    revisions = {"" if text == NO_CHECKOUT else text[:REVISION_DIGITS] for text in runs["revision"]}
    minutes, parameters = runs["minutes"].dropna(), runs["parameters"].dropna()
    cells = [
        str(len(runs)),
        f"{minutes.mean():.1f}" if len(minutes) else "",
        f"{parameters.mean():,.0f}" if len(parameters) else "",
        f"`{_command(runs)}`",
        revisions.pop() if len(revisions) == 1 else "mixed",
    ]
    return dict(zip(DETAILS, cells, strict=True))


def _mean_and_deviation(values: pd.Series) -> str:
    """Mean and sample standard deviation over the runs that have a value."""
    numbers = values.dropna().astype(float)
    if len(numbers) < 2:
        return "".join(f"{number:.3f}" for number in numbers)
    return f"{numbers.mean():.3f} ± {numbers.std():.3f}"


def _command(runs: pd.DataFrame) -> str:
    """The command of all runs of a row; SEED marks what differs where every seed is scored separately."""
    commands = set(runs["command"])
    if len(commands) > 1:
        checkpoint = RunFolder("").best_checkpoint
        pairs = zip(runs["seed"], runs["command"], strict=True)
        commands = {command.replace(f"/{seed}/{checkpoint}", f"/SEED/{checkpoint}") for seed, command in pairs}
    return commands.pop() if len(commands) == 1 else "mixed"


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Put the table between the document's two comments; the rest stays as it is.

    Raises:
        UserError: the document lacks one of the comments.
    """
    before, after = split_document(path)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    text = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    write_text(path.resolve(), f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _markdown(cell: str) -> str:
    """A cell's text in one line, without the sign that ends a cell."""
    return " ".join(cell.splitlines()).replace("|", "\\|")


def split_document(path: Path) -> tuple[str, str]:
    """The text before and after the table; a document that does not exist holds nothing else.

    Raises:
        UserError: the document lacks one of the comments, or is no text.
    """
    if path.suffix.lower() == ".csv":
        raise UserError(f"out={path}: name a Markdown document, such as table.md; the CSV is written beside it")
    try:
        text = read_text(path) if path.exists() else f"{BEGIN}\n{END}\n"
    except (OSError, DamagedFile) as error:
        raise UserError(f"out={path}: can't be read ({error}); name a Markdown document") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"out={path}: lacks {END if begin else BEGIN}; write {BEGIN} and {END} where the table belongs")
    return before, after


def terminal_table(table: pd.DataFrame) -> Table:
    """The table of `tabulate` without its long cells."""
    shown = Table(title="validation RMSE in pixels, mean ± standard deviation over runs")
    narrow = table.drop(columns=["what differs", "command"])
    for heading in narrow.columns:
        shown.add_column(heading, justify="left" if heading == "row" else "right")
    for line in narrow.to_numpy().tolist():
        shown.add_row(*line)
    return shown


def write_picture(settings: PictureSettings, folders: Mapping[str, RunFolder]) -> None:
    """Draw the curves of finished runs.

    Args:
        settings: ``out`` is the file.
        folders: by the row's name.
    """
    curves = {name: folder.read_curves() for name, folder in folders.items() if folder.is_finished()}
    curves = {name: curve for name, curve in curves.items() if "minutes" in curve}
    if not curves:
        log.info("no picture: none of its rows has curves yet")
        return
    path = Path(str(settings.out))
    with atomic(path) as draft:
        draw_minutes(curves).savefig(draft, format="png", dpi=110)
    log.info("written: %s", path)


def draw_minutes(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Validation RMSE against minutes of training, both on logarithmic axes.

    Args:
        curves: metrics.csv by the row's name.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    for name, curve in curves.items():
        complete = curve.dropna(subset=["minutes", "val/rmse"])
        ax.plot(complete["minutes"], complete["val/rmse"], marker="o", markersize=3, label=name)
    ax.set(xlabel="minutes of training", ylabel="validation RMSE, pixels", xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=TICKS))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure
