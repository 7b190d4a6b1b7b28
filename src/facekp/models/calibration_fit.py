"""Fits calibrations on labelled faces, checks them on others, and writes them into a checkpoint.

Training rows of the checkpoint are left out. One half of the others is fitted on, the other half checked on;
near-duplicates and faces of one photo stay in the same half. Each face is used as it is and under several corruptions
(`facekp.data.corruptions`), so that expected errors hold for bad photos as well. If a checkpoint was trained on all
rows, its *twin* is measured instead: the same recipe, trained without one fold. Axes: N faces, K points, S sources,
B knots of the curve, C corruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from facekp.core.errors import UserError
from facekp.core.files import write_tensors
from facekp.data.corruptions import CorruptionSettings, corrupted_table
from facekp.data.split import assign_folds, inseparable_groups
from facekp.data.table import FaceTable
from facekp.functional.metrics import trimmed_mean
from facekp.models.calibration import Calibration
from facekp.models.checkpoint import KEY, LoadedCheckpoint, load_checkpoint, migrate_entry, read_facekp_tensors
from facekp.models.ensemble import predict_table
from facekp.models.settings import DecoderOverride, DecoderSettings

MAX_KNOTS = 20  # of the curve at most
MIN_POINTS_PER_KNOT = 25  # at least
SAME_WIDTH = 1e-3  # pixels; the drawn maps of model=regression differ by rounding only
MAX_ROUNDS = 100  # in which curve and factors are fitted alternately
SETTLED = 1e-3  # largest relative change of an expected error in a round that ends the fit
PRIOR_POINTS = 30  # points of a source's keypoint whose factor counts as much as the prior factor of 1
PER_FACE = 3  # corruptions of a face; its clean image counts a third as much as them together
RELIABILITY_PARTS = 10  # equal parts of the points, in which expected and measured errors are compared


def calibrated_decoders(decoder: DecoderSettings) -> list[DecoderSettings]:
    """The decoders that `calibrate_decoders` fits for, each once: what ``predict`` uses comes first.

    Args:
        decoder: the checkpoint's.

    Returns:
        one view as ``views=one`` decodes it, one view with and without its mirror image, and the checkpoint's decoder.

    Example:
        >>> decoder = DecoderSettings(rule="mean", floor=0.0, flip=True, shift=2.0, scale=0.0)
        >>> [(each.flip, each.shift) for each in calibrated_decoders(decoder)]
        [(True, 0.0), (False, 0.0), (True, 2.0)]
    """
    one = DecoderOverride().for_views("one").applied_to(decoder)
    wanted = [one, one.replaced(flip=True), one.replaced(flip=False), decoder]
    return [each for i, each in enumerate(wanted) if each not in wanted[:i]]


def calibrate_decoders(
    loaded: LoadedCheckpoint, table: FaceTable, seed: int, corruptions: CorruptionSettings | None = None
) -> list[Calibration]:
    """Fit a calibration for each of `calibrated_decoders`; arguments and errors as for `calibrate`."""
    model, fitted = loaded.model, []
    given = model.decoder
    for decoder in calibrated_decoders(given):
        model.override_decoder(DecoderOverride(**decoder.plain()))
        fitted.append(calibrate(loaded, table, seed, corruptions))
    model.override_decoder(DecoderOverride(**given.plain()))
    return fitted


class Measured(NamedTuple):
    """Heatmaps' deviations and errors of faces.

    Attributes:
        deviation: float32 (N, K), pixels.
        error: (N, K), pixels, NaN where unlabelled.
        source: int8 (N,).
    """

    deviation: np.ndarray
    error: np.ndarray
    source: np.ndarray

    def take(self, index: np.ndarray) -> Measured:
        """The faces at ``index`` (integers or bool)."""
        return Measured(*(part[index] for part in self))

    def reliability(self, calibration: Calibration) -> dict[str, Any]:
        """Compare a calibration's expected errors with these; see `reliability`."""
        source = torch.from_numpy(self.source).long()
        return reliability(calibration.expected(torch.from_numpy(self.deviation), source).numpy(), self.error)


def calibrate(
    loaded: LoadedCheckpoint, table: FaceTable, seed: int, corruptions: CorruptionSettings | None = None
) -> Calibration:
    """Fit a calibration on one half of a table and check it on the other.

    Args:
        loaded: the checkpoint, with the decoder that is calibrated.
        table: N labelled rows that it was not trained on.
        seed: decides which faces are in which half.
        corruptions: each face is also used under `PER_FACE` of them; None: only as it is.

    Returns:
        the calibration; ``reliability`` is that of images as they are, ``reliability["corrupted"]`` of corrupted ones.

    Raises:
        UserError: too few labelled points, or a corruption does not fit the size of the images.
    """
    groups = inseparable_groups(table)
    if len(np.unique(groups)) < 2:
        raise UserError(
            "calibrate: all faces are of one photo, near-duplicates of each other, or have one value of data.group_by; "
            "give faces that differ"
        )
    first = assign_folds(groups, table.source, 2, seed) == 0
    clean, halves = _measure(loaded, table), [first]
    measured = [clean]
    if corrupted := _corrupted(loaded, table, corruptions):
        faces, changed = corrupted
        measured.append(_measure(loaded, changed))
        halves.append(first[faces])
    fitted_on = [each.take(half) for each, half in zip(measured, halves, strict=True)]
    checked_on = [each.take(~half) for each, half in zip(measured, halves, strict=True)]
    together = Measured(*map(np.concatenate, zip(*fitted_on, strict=True)))
    knots, curve, factor = fit_curve(*together, len(table.keypoints.source_names))
    fitted = Calibration(loaded.model.decoder.plain(), knots, curve, factor, {})
    fitted.reliability.update(checked_on[0].reliability(fitted))
    if len(checked_on) > 1:
        fitted.reliability["corrupted"] = checked_on[1].reliability(fitted)
    return fitted


def _measure(loaded: LoadedCheckpoint, table: FaceTable) -> Measured:
    prediction = predict_table([loaded], table)
    assert prediction.deviation is not None  # of one checkpoint
    error = np.linalg.norm(prediction.points - table.points, axis=-1)
    return Measured(prediction.deviation, error, table.source)


def _corrupted(
    loaded: LoadedCheckpoint, table: FaceTable, settings: CorruptionSettings | None
) -> tuple[np.ndarray, FaceTable] | None:
    """Each face under `PER_FACE` of the C corruptions and strengths, which are spread over the faces; None without any.

    Returns:
        the rows of ``table`` that the corrupted faces come from, and the table of these.
    """
    if settings is None or not (conditions := settings.conditions()):
        return None
    model = loaded.model
    every = corrupted_table(table, conditions, settings.seed, model.keypoints.offsets(model.offsets))  # C * N faces
    faces, turn = np.divmod(np.arange(PER_FACE * len(table)), PER_FACE)
    condition = (faces + turn * len(conditions) // PER_FACE) % len(conditions)
    return faces, every.take(condition * len(table) + faces)


def read_calibratable(path: Path) -> dict[str, Any]:
    """The content of a checkpoint that can hold a calibration.

    Raises:
        UserError: it holds the published system's weights and nothing else.
    """
    return read_facekp_tensors(path, "calibrate a checkpoint of facekp.train, e.g. one that started from it")


def write_calibrations(source: Path, target: Path, fitted: Sequence[Calibration]) -> None:
    """Write a copy of a checkpoint with calibrations. Those that it has for other decoders are kept.

    Raises:
        UserError: ``source`` can't hold them (`read_calibratable`).
    """
    raw = read_calibratable(source)
    entry = migrate_entry(raw[KEY])
    decoders = [calibration.decoder for calibration in fitted]
    others = [values for values in entry["calibrations"] if values["decoder"] not in decoders]
    values = {**raw[KEY], "calibrations": [*(calibration.to_dict() for calibration in fitted), *others]}
    values.pop("calibration", None)  # of 0.1
    write_tensors(target, {**raw, KEY: values})


def load_twin(loaded: LoadedCheckpoint, path: str) -> LoadedCheckpoint:
    """Load the checkpoint that is measured instead of another one.

    Raises:
        UserError: its decoder, image size, channels, keypoints or model differ.
    """
    twin = load_checkpoint(path)
    for name in ("decoder", "size", "image_channels", "keypoints", "settings"):
        ours, theirs = (getattr(checkpoint.model, name) for checkpoint in (loaded, twin))
        if ours != theirs:
            what = f"its {name} is {theirs}, but that of {loaded.path} is {ours}"
            if name in ("keypoints", "settings"):  # too long for a line
                what = f"{'another model' if name == 'settings' else 'other keypoints'} than {loaded.path}"
            raise UserError(f"twin={path}: {what}; give a twin of the same recipe, packed with the same decoder=")
    return twin


def fit_curve(
    deviation: np.ndarray, error: np.ndarray, source: np.ndarray, sources: int
) -> tuple[list[float], list[float], list[list[float]]]:
    """Fit the curve, and the factor of each source's points, alternately.

    Args:
        deviation: (N, K) pixels.
        error: (N, K) pixels, NaN where unlabelled.
        source: int (N,), below S.
        sources: S.

    Returns:
        ``deviation``, ``error`` and ``factor`` of a `Calibration`.

    Raises:
        UserError: too few labelled points for two knots.
    """
    used = ~np.isnan(error) & ~np.isnan(deviation)
    points = int(used.sum())
    if points < 2 * MIN_POINTS_PER_KNOT:
        raise UserError(
            f"calibrate: only {points} labelled points to fit on, but at least {2 * MIN_POINTS_PER_KNOT} are needed; "
            "give more faces"
        )
    width, distance, (row, point) = deviation[used], error[used], np.nonzero(used)
    cell = source[row].astype(np.int64) * error.shape[1] + point  # index into (S, K)
    groups = _groups_of_width(width, min(MAX_KNOTS, points // MIN_POINTS_PER_KNOT))
    knots = np.array([width[group].mean() for group in groups])
    factor, expected = np.ones(sources * error.shape[1]), np.zeros(points)
    for _ in range(MAX_ROUNDS):
        relative, before = distance / factor[cell], expected
        curve = increasing(np.array([trimmed_mean(relative[group]) for group in groups]))
        by_width = np.interp(width, knots, curve)
        factor = _factors(distance / by_width, cell, len(factor))
        expected = by_width * factor[cell]
        if np.allclose(expected, before, rtol=SETTLED, atol=0):
            break
    factors = factor.reshape(sources, -1)
    unlabelled = np.bincount(cell, minlength=factors.size).reshape(factors.shape) == 0
    factors = np.where(unlabelled, factors[0], factors)  # points that a source never labels are the first source's
    return knots.tolist(), curve.tolist(), factors.tolist()


def _groups_of_width(width: np.ndarray, number: int) -> list[np.ndarray]:
    """Indices of points in ``number`` groups of increasing width; neighbours of the same mean width are one group."""
    order = np.argsort(width, kind="stable")
    groups = np.array_split(order, number)
    means = np.array([width[group].mean() for group in groups])
    starts = np.cumsum([len(group) for group in groups[:-1]], dtype=np.int64)
    return np.split(order, starts[np.diff(means) > SAME_WIDTH])


def _factors(relative: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """(cells,): trimmed mean of each cell's relative errors; the fewer there are, the closer to 1."""
    factor = np.ones(cells)
    for index in np.unique(cell):
        values = relative[cell == index]
        factor[index] = trimmed_mean(values) ** (len(values) / (len(values) + PRIOR_POINTS))
    return factor


def increasing(values: np.ndarray) -> np.ndarray:
    """Isotonic regression: the non-decreasing sequence with the least squared distance from the values.

    By the min-max formula (Barlow et al., Statistical Inference under Order Restrictions, 1972): entry i is the maximum
    over j <= i of the minimum over k >= i of the mean of values j to k.

    Example:
        >>> increasing(np.array([1.0, 3.0, 2.0, 4.0]))
        array([1. , 2.5, 2.5, 4. ])
    """
    n = len(values)
    start, end = np.arange(n)[:, None], np.arange(n)
    total = np.append(0.0, values.cumsum())
    means = np.where(end < start, np.inf, (total[end + 1] - total[start]) / np.maximum(end - start + 1, 1))
    smallest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.maximum.accumulate(np.where(end < start, -np.inf, smallest), axis=0).diagonal()


def reliability(expected: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """Compare expected with measured errors; the worst hundredth of each part's measured errors is left out.

    Args:
        expected: (N, K) pixels.
        error: (N, K) pixels, NaN where unlabelled.

    Returns:
        ``reliability`` of a `Calibration`.

    Raises:
        UserError: too few labelled points.
    """
    used = ~np.isnan(error)
    order = np.argsort(expected[used], kind="stable")
    if len(order) < RELIABILITY_PARTS:
        raise UserError(f"calibrate: only {len(order)} labelled points to check on; give more faces")
    parts = np.array_split(order, RELIABILITY_PARTS)
    return {
        "points": len(order),
        "expected": [float(expected[used][part].mean()) for part in parts],
        "measured": [trimmed_mean(error[used][part]) for part in parts],
    }
