"""The work of ``facekp.calibrate``: fits expected errors, shows how well they hold, and writes the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.table import Table

from facekp.core.console import show
from facekp.core.errors import UserError
from facekp.core.files import atomic, write_json
from facekp.core.outputs import output_file
from facekp.data.digests import is_data_of
from facekp.data.readers.read import read_table
from facekp.data.table import FaceTable
from facekp.models.calibration import GOAL, Calibration
from facekp.models.calibration_fit import calibrate_decoders, load_twin, read_calibratable, write_calibrations
from facekp.models.checkpoint import load_checkpoint
from facekp.models.command_settings import CalibrateSettings
from facekp.models.scoring import unseen_rows
from facekp.models.views import count_views
from facekp.runs.folder import RunFolder

log = logging.getLogger(__name__)


def calibrate(settings: CalibrateSettings) -> list[Calibration]:
    """Fit, check, and write the checkpoint and the comparison of expected and measured errors.

    Returns:
        the calibration of each decoder.

    Raises:
        UserError: a file exists or can't be written, the checkpoint can't be calibrated, or too few rows are held out.
    """
    pictures = _pictures(settings)
    with ExitStack() as claims:
        out = claims.enter_context(output_file(settings.out, overwrite=settings.overwrite))
        for path in pictures:
            claims.enter_context(output_file(str(path), overwrite=settings.overwrite, key="reliability"))
        return _calibrate(settings, out, pictures[0] if pictures else None)


def _pictures(settings: CalibrateSettings) -> list[Path]:
    """The picture that is asked for, and the file of its values.

    Raises:
        UserError: the name is not that of a PNG, or of a file that the command reads or writes.
    """
    if settings.reliability is None:
        return []
    picture = Path(settings.reliability)
    if picture.suffix.lower() != ".png":
        raise UserError(f"reliability={picture}: the picture is a PNG; choose a name that ends with .png")
    files = [picture, picture.with_suffix(".json")]
    if {path.resolve() for path in files} & {Path(settings.out).resolve(), Path(settings.ckpt).resolve()}:
        raise UserError(f"reliability={picture}: it or its .json is out= or ckpt=; choose another name")
    return files


def _calibrate(settings: CalibrateSettings, out: Path, picture: Path | None) -> list[Calibration]:
    """Measure, fit and check; write the checkpoint, the picture, and the figures for the run's report."""
    loaded = load_checkpoint(settings.ckpt)
    read_calibratable(loaded.path)  # refused before anything is measured
    measured = loaded if settings.twin is None else load_twin(loaded, settings.twin)
    table = read_table(settings.data, loaded.model.keypoints)
    rows = unseen_rows([measured], table, settings.data)
    fitted = calibrate_decoders(measured, table.take(rows), settings.data.split_seed, settings.corruptions)

    write_calibrations(loaded.path, out, fitted)
    _show(fitted)
    log.info("ckpt: %s (%.1f MB)", out, out.stat().st_size / 1e6)
    one_view = fitted[0].reliability  # as predict decodes
    if picture is not None:
        _write_picture(picture, one_view)
    if (run := RunFolder.of_best_checkpoint(loaded.path)) is not None:
        _write_into(run, table, one_view)
    return fitted


def _write_into(run: RunFolder, table: FaceTable, reliability: dict[str, Any]) -> None:
    """Let `facekp.report` show the expected and measured errors of a run, if the data are its own.

    A damaged or read-only folder is a warning, as the checkpoint is written already.
    """
    try:
        if is_data_of(run.read_data(), table):
            run.write_reliability(reliability)
        else:
            log.info("not written into %s, whose report would show it: the data are not those of the run", run)
    except UserError as error:
        log.warning("the run's report will not show this: %s", error)


def _write_picture(path: Path, reliability: dict[str, Any]) -> None:
    """The picture, and its values beside it as JSON."""
    from facekp.reporting.pictures import draw_reliability  # it imports matplotlib

    with atomic(path) as draft:
        draw_reliability(reliability).savefig(draft, dpi=110, format="png")
    write_json(path.with_suffix(".json"), reliability)
    log.info("written: %s", path)


def _show(fitted: Sequence[Calibration]) -> None:
    """Print expected and measured errors of each calibration, and warn where they differ."""
    _show_part([(_describe(each.decoder), each.reliability) for each in fitted], "faces")
    corrupted = [(_describe(each.decoder), each.reliability.get("corrupted")) for each in fitted]
    _show_part([(name, part) for name, part in corrupted if part is not None], "corrupted faces")


def _show_part(reliabilities: Sequence[tuple[str, Mapping[str, Any]]], of: str) -> None:
    """Print a column for each decoder.

    Args:
        reliabilities: name and reliability of each decoder; none: nothing is printed.
        of: whose points they are.
    """
    if not reliabilities:
        return
    points = reliabilities[0][1]["points"]
    table = Table(title=f"{points} points of {of} that were not fitted on, by expected error in pixels")
    table.add_column("tenth", justify="right")
    for name, _ in reliabilities:
        table.add_column(name, justify="right")
    pairs = [list(zip(part["expected"], part["measured"], strict=True)) for _, part in reliabilities]
    for i, tenth in enumerate(zip(*pairs, strict=True), start=1):
        table.add_row(str(i), *(f"{expected:.2f}, measured {measured:.2f}" for expected, measured in tenth))
    show(table)
    for (name, _), of_decoder in zip(reliabilities, pairs, strict=True):
        off = sum(abs(measured / expected - 1) > GOAL for expected, measured in of_decoder)
        if off:
            text = "%s, %s: in %d of %d tenths they differ by more than %.0f %%; calibrate with more faces"
            log.warning(text, name, of, off, len(of_decoder), 100 * GOAL)


def _describe(decoder: Mapping[str, Any]) -> str:
    """Which views a decoder has.

    Example:
        >>> _describe({"shift": 1.5, "scale": 0.05, "flip": True})
        '7 views and mirror images'
        >>> _describe({"shift": 0.0, "scale": 0.0, "flip": False})
        '1 view'
    """
    views = count_views(decoder["shift"], decoder["scale"])
    return f"{views} view{'s' * (views > 1)}" + (f" and mirror image{'s' * (views > 1)}" if decoder["flip"] else "")
