"""How good the labels are: noise between duplicates, baselines, and labels that are probably wrong.

A table comes in, figures go out. Every score on these data lies between the noise floor and the baselines. The noise
floor is the error of a single label, estimated from duplicates. Baselines are the mean face, and the labels
of the most similar image (nearest neighbour).
Axes: N faces, K points, S sources, P pairs of duplicates, L labelled points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.console import progress
from facekp.core.errors import UserError
from facekp.data.near_duplicates import CORRELATION, image_hashes, standardise, thumbnails
from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face

BLOCK = 1024  # rows, or pairs, at a time
ALL_PAIRS = 64  # rows of a group, up to which all its pairs are compared; the competition's groups are smaller
MAX_PARTNERS = 8  # of each row of a larger group
MAX_SEARCHED_ROWS = 8192  # rows at most among which the most similar one is searched; the competition has fewer
RIDGE = 10.0  # square pixels times faces; keeps the shape fit stable where points hardly vary
GROSS_ERROR = 10.0  # pixels of RMSE between two labels of an image; above, one of them is a gross mistake and not noise
KINDS = ("identical pixels", f"correlation above {CORRELATION:g}")  # of pairs of duplicates
MIN_TYPICAL_ERROR = 0.1  # pixels; a smaller typical error counts as this


# Duplicates and noise


def duplicate_pairs(table: FaceTable, groups: np.ndarray) -> pd.DataFrame:
    """Pairs of rows that show the same image.

    Args:
        table: N rows.
        groups: (N,) of `facekp.data.near_duplicates.near_duplicate_groups`.

    Returns:
        Columns ``first`` and ``second`` (indices of rows) and ``kind`` (one of `KINDS`). Rows of a group that are not
        similar to each other, but only to a third row, are not a pair. Of a group of more than `ALL_PAIRS` rows, each
        row is compared with `MAX_PARTNERS` others, drawn at random.
    """
    members = np.split(np.argsort(groups, kind="stable"), np.unique(np.sort(groups), return_index=True)[1][1:])
    pairs = np.concatenate([np.empty((0, 2), np.int64), *map(_pairs_of_group, members)])  # (P, 2)
    hashes = image_hashes(table.images)
    identical = hashes[pairs[:, 0]] == hashes[pairs[:, 1]]
    alike = identical.copy()
    others = np.flatnonzero(~identical)
    for start in progress(range(0, len(others), BLOCK), "comparing duplicates"):
        block = others[start : start + BLOCK]
        first, second = (standardise(table.images[pairs[block, side]]) for side in (0, 1))
        alike[block] = np.einsum("pd,pd->p", first, second) > CORRELATION
    kind = np.where(identical, *KINDS)
    return pd.DataFrame({"first": pairs[alike, 0], "second": pairs[alike, 1], "kind": kind[alike].astype(object)})


def _pairs_of_group(rows: np.ndarray) -> np.ndarray:
    """int64 (P, 2): pairs of a group's rows; all of them, or of a large group some for each row."""
    if len(rows) <= ALL_PAIRS:
        return rows[np.stack(np.triu_indices(len(rows), 1), axis=1)]
    ring = np.random.default_rng(0).permutation(rows)
    pairs = [np.stack((ring, np.roll(ring, k)), axis=1) for k in range(1, MAX_PARTNERS + 1)]
    return np.sort(np.concatenate(pairs), axis=1)


def label_noise(table: FaceTable, pairs: pd.DataFrame) -> pd.DataFrame:
    """By how much the labels of the same image differ.

    Args:
        table: N rows.
        pairs: of `duplicate_pairs`.

    Returns:
        A row for each kind of pair and each two sources with pairs. Columns:

        - ``source``, ``kind``, ``pairs``: which pairs, and their number;
        - ``values``: coordinates that are labelled in both rows;
        - ``rmse``, ``median``: of their differences, and of the absolute differences, in pixels;
        - ``gross``: pairs whose RMSE is above `GROSS_ERROR`;
        - ``kept``: coordinates that are labelled in both rows, without these pairs;
        - ``noise``: the RMSE without these pairs;
        - ``single``: noise / sqrt(2), the error of a single label if both are equally good.
    """
    names = np.array(table.keypoints.source_names)
    rows = []
    for kind in KINDS:
        of_kind = pairs[pairs["kind"] == kind]
        first, second = of_kind["first"].to_numpy(int), of_kind["second"].to_numpy(int)
        sources = np.sort(np.stack([table.source[first], table.source[second]], axis=1), axis=1)  # (P, 2)
        for a, b in np.unique(sources, axis=0):
            chosen = (sources == (a, b)).all(axis=1)
            source = names[a] if a == b else f"{names[a]} and {names[b]}"
            difference = table.points[first[chosen]].astype(float) - table.points[second[chosen]]
            rows.append({"source": source, "kind": kind, **_noise(difference)})
    columns = ["source", "kind", "pairs", "values", "rmse", "median", "gross", "kept", "noise", "single"]
    return pd.DataFrame([row for row in rows if row["values"]], columns=columns)


def _noise(difference: np.ndarray) -> dict[str, Any]:
    """Columns of `label_noise` for differences (P, K, 2), NaN where not both are labelled."""
    squared, count = np.nansum(difference**2, axis=(1, 2)), (~np.isnan(difference)).sum(axis=(1, 2))  # (P,)
    difference, squared, count = difference[count > 0], squared[count > 0], count[count > 0]
    if not len(count):
        return {"pairs": 0, "values": 0}
    gross = squared > GROSS_ERROR**2 * count
    noise = float(np.sqrt(squared[~gross].sum() / max(count[~gross].sum(), 1)))
    return {
        "pairs": len(count),
        "values": int(count.sum()),
        "rmse": float(np.sqrt(squared.sum() / count.sum())),
        "median": float(np.nanmedian(np.abs(difference))),
        "gross": int(gross.sum()),
        "kept": int(count[~gross].sum()),
        "noise": None if gross.all() else noise,
        "single": None if gross.all() else noise / np.sqrt(2),
    }


def noise_floor(noise: pd.DataFrame, table: FaceTable) -> dict[str, float]:
    """The error of a single label by source, in pixels, from all its duplicates together.

    Args:
        noise: of `label_noise`.
        table: N rows.

    Returns:
        RMSE by name of the source; also ``all`` where every labelled source has duplicates.
    """
    floor = {}
    for name, rows in noise.dropna(subset="single").groupby("source"):
        if name in table.keypoints.source_names:
            squared = rows["single"].astype(float) ** 2
            floor[str(name)] = float(np.sqrt((squared * rows["kept"]).sum() / rows["kept"].sum()))
    weights = {name: table.mask[table.source == s].sum() for s, name in enumerate(table.keypoints.source_names)}
    labelled = [name for name, weight in weights.items() if weight]
    if all(name in floor for name in labelled):
        squares = sum(weights[name] * floor[name] ** 2 for name in labelled)
        floor["all"] = float(np.sqrt(squares / sum(weights[name] for name in labelled)))
    return floor


# Baselines, cross-validated: each fold is predicted from the others


def mean_face_points(table: FaceTable, fold_of: np.ndarray) -> np.ndarray:
    """(N, K, 2): the mean face of each row's source in the other folds."""
    points = np.empty_like(table.points)
    for fold in np.unique(fold_of):
        rest = fold_of != fold
        points[~rest] = mean_face(table.points[rest], table.source[rest], table.keypoints)[table.source[~rest]]
    return points


def neighbour_points(table: FaceTable, fold_of: np.ndarray) -> np.ndarray:
    """(N, K, 2): labels of the most similar image of the same source in the other folds.

    The most similar image has the highest correlation of 24 x 24 thumbnails. The mean face fills in missing labels. Of
    more than `MAX_SEARCHED_ROWS` rows, so many spread over the table are searched.
    """
    points = mean_face_points(table, fold_of)
    small = thumbnails(table.images)
    for held_out, rest in _by_source_and_fold(table, fold_of):
        if len(rest) > MAX_SEARCHED_ROWS:
            rest = rest[np.linspace(0, len(rest) - 1, MAX_SEARCHED_ROWS).round().astype(int)]
        blocks = np.array_split(held_out, -(-len(held_out) // BLOCK))
        most_similar = np.concatenate([(small[block] @ small[rest].T).argmax(axis=1) for block in blocks])
        nearest = table.points[rest[most_similar]]
        points[held_out] = np.where(np.isnan(nearest), points[held_out], nearest)
    return points


def _by_source_and_fold(table: FaceTable, fold_of: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of the rows of each source and fold, with those of the same source in the other folds."""
    pairs = []
    for source in np.unique(table.source):
        for fold in np.unique(fold_of):
            held_out = np.flatnonzero((table.source == source) & (fold_of == fold))
            rest = np.flatnonzero((table.source == source) & (fold_of != fold))
            if len(held_out) and len(rest):
                pairs.append((held_out, rest))
    return pairs


BASELINES: dict[str, Callable[[FaceTable, np.ndarray], np.ndarray]] = {
    "mean face": mean_face_points,
    "nearest neighbour": neighbour_points,
}


def rmse_by_source(points: np.ndarray, table: FaceTable) -> dict[str, float]:
    """Pooled RMSE of predictions (N, K, 2) by source, and of ``all``; sources without labels are left out."""
    squared = np.square(points.astype(float) - table.points)
    parts = {name: squared[table.source == s] for s, name in enumerate(table.keypoints.source_names)}
    parts["all"] = squared
    return {name: float(np.sqrt(np.nanmean(part))) for name, part in parts.items() if not np.isnan(part).all()}


# Suspicious labels


def suspicious_by_predictions(table: FaceTable, predictions: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Labels ranked by their distance from the mean prediction of runs that did not train on the face.

    Args:
        table: N rows.
        predictions: of each run (`facekp.runs.folder.RunFolder.read_predictions`); runs over all folds cover all faces.

    Returns:
        Of `rank_labels`.

    Raises:
        UserError: none of the predictions is of these data.
    """
    every = pd.concat([predictions_on(table, each) for each in predictions])
    if every.empty:
        raise UserError(
            "what=data: the runs have no predictions on these data; give runs that were trained on this data=, or none"
        )
    mean = every.groupby(["i", "k"], as_index=False)[["x", "y"]].mean()
    return rank_labels(table, mean["i"].to_numpy(), mean["k"].to_numpy(), mean[["x", "y"]].to_numpy())


def predictions_on(table: FaceTable, predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions of a run for points that a table has with the same labels.

    Args:
        table: N rows.
        predictions: as for `suspicious_by_predictions`.

    Returns:
        rows of ``predictions``, with columns ``i`` and ``k``, the index of the row and of the point in the table.
    """
    index = pd.Series(np.arange(len(table)), index=table.row)
    number = {name: k for k, name in enumerate(table.keypoints.names)}
    known = predictions[predictions["row"].isin(index.index) & predictions["keypoint"].isin(number)]
    known = known.assign(i=index[known["row"]].to_numpy(), k=known["keypoint"].map(number).astype(int))
    truth = table.points[known["i"], known["k"]]
    same = np.isclose(truth, known[["true_x", "true_y"]].to_numpy(), atol=0.01).all(axis=1)
    return known.iloc[np.flatnonzero(same)]


def suspicious_by_shape(table: FaceTable, fold_of: np.ndarray) -> pd.DataFrame:
    """Labels ranked by their distance from the position that the face's other points suggest.

    The position is a linear fit with ridge regularisation, by source, of each point on all others. It is fitted on the
    other folds; missing points count as the mean.

    Returns:
        Of `rank_labels`.
    """
    expected = np.full_like(table.points, np.nan)
    for held_out, rest in _by_source_and_fold(table, fold_of):
        expected[held_out] = _fit_shape(table.points[rest], table.points[held_out])
    i, k = np.nonzero(table.mask & ~np.isnan(expected[..., 0]))
    return rank_labels(table, i, k, expected[i, k])


def _fit_shape(known: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Each point of the held-out faces as their other points suggest it; NaN for points that are never labelled."""
    labelled = ~np.isnan(known)
    mean = np.where(labelled, known, 0).sum(axis=0) / np.maximum(labelled.sum(axis=0), 1)
    centred, queries = np.nan_to_num(known - mean), np.nan_to_num(held_out - mean)
    expected = np.full_like(held_out, np.nan)
    for k in np.flatnonzero(labelled[..., 0].any(axis=0)):
        rows = labelled[:, k, 0]
        others = np.delete(centred[rows], k, axis=1).reshape(rows.sum(), -1).astype(float)
        weights = np.linalg.solve(others.T @ others + RIDGE * np.eye(others.shape[1]), others.T @ centred[rows, k])
        expected[:, k] = mean[k] + np.delete(queries, k, axis=1).reshape(len(queries), -1) @ weights
    return expected


def rank_labels(table: FaceTable, i: np.ndarray, k: np.ndarray, expected: np.ndarray) -> pd.DataFrame:
    """Labels by how suspicious they are, the most suspicious first.

    Args:
        table: N rows.
        i, k: (L,) row and point of each label.
        expected: (L, 2), where each label should be, in pixels.

    Returns:
        Columns ``i``, ``k``, ``x``, ``y`` (expected), ``error`` in pixels and ``times``, in decreasing order of the
        last. ``times`` is the error divided by the median error of the same source and point, as the end of a brow is
        harder to place than the centre of an eye.
    """
    error = np.linalg.norm(table.points[i, k] - expected, axis=1)
    labels = pd.DataFrame({"i": i, "k": k, "x": expected[:, 0], "y": expected[:, 1], "error": error})
    typical = labels.groupby([table.source[i], k])["error"].transform("median")
    labels["times"] = labels["error"] / np.maximum(typical, MIN_TYPICAL_ERROR)
    return labels.sort_values("times", ascending=False, kind="stable", ignore_index=True)
