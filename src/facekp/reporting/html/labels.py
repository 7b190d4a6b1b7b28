"""The page that shows the data: a table comes in, and sections on its labels, their noise and the baselines go out.

Every score on these data stands between two figures: what labels of the same image differ by (the noise floor) and what
is reached without looking at the face (the mean face) or by looking up the most similar one (the nearest neighbour).
Axes: N faces, K points, S sources, P pairs of duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from facekp.core.errors import UserError
from facekp.data.split import (
    BLOCK,
    CORRELATION,
    assign_folds,
    image_hashes,
    near_duplicate_groups,
    thumbnails,
    with_photos,
)
from facekp.data.table import FaceTable
from facekp.functional.metrics import mean_face
from facekp.reporting.html import figures, page
from facekp.reporting.html.collect import Run
from facekp.reporting.html.faces import ImageStore, face, pair, photo

RIDGE = 10.0  # square pixels times faces; keeps the shape fit calm where points hardly vary

MISTAKE = 10.0  # pixels of RMSE between two labels of an image, above which one is no noise but on another place

LISTED = 200  # suspicious labels in the table

DOUBT = ["i", "k", "x", "y", "error", "times"]  # columns of `rank`

PATTERNS = 12  # of what is missing, the most frequent

PAIRS = ("identical pixels", f"correlation above {CORRELATION:g}")


def data_page(
    table: FaceTable, settings: Mapping[str, Any], runs: Sequence[Run], faces: int
) -> tuple[list[dict[str, Any]], ImageStore]:
    """All sections of the page.

    Args:
        table: the data.
        settings: ``data`` of the config, for the folds.
        runs: whose predictions on held-out faces score_predictions the labels; none: a shape fit does.
        faces: how many duplicates and suspicious faces are shown.

    Raises:
        UserError: the table holds no label, too few different images for the folds, or the runs are of other data.
    """
    if not table.mask.any():
        raise UserError("data: the table holds no labelled point; there is nothing to show")
    groups = near_duplicate_groups(table.images)
    fold_of = assign_folds(with_photos(groups, table.name), table.source, settings["folds"], settings["split_seed"])
    pairs = duplicate_pairs(table, groups)
    noise = label_noise(table, pairs)
    known = {
        "mean face": rmse_by_source(mean_face_points(table, fold_of), table),
        "nearest neighbour": rmse_by_source(neighbour_points(table, fold_of), table),
    }
    floor = floor_by_source(noise, table)
    doubts = doubted_by_runs(table, runs) if runs else doubted_by_shape(table, fold_of)
    album = ImageStore()
    shown = [one for one in runs[:1] if one.figures]
    sections = [
        page.section("Answer", "", page.text(*_answer(table, groups, floor, known))),
        _scale(floor, known, shown),
        _counts(table),
        page.section("What is missing", "By source, the most frequent first.", _patterns(table)),
        _duplicates(table, groups, pairs, noise, faces, album),
        _suspicious(table, doubts, runs, faces, album),
    ]
    return sections, album


# Duplicates and noise


def duplicate_pairs(table: FaceTable, groups: np.ndarray) -> pd.DataFrame:
    """Pairs of rows that show the same image.

    Args:
        table: N rows.
        groups: (N,) of `facekp.data.split.near_duplicate_groups`.

    Returns:
        columns ``first`` and ``second`` (places in the table), ``kind`` (one of `PAIRS`; pairs that only a chain of
        others joins are left out).
    """
    hashes = image_hashes(table.images)
    members = pd.Series(np.arange(len(table))).groupby(groups).apply(np.array)
    found = []
    for own in members[members.map(len) > 1]:
        flat = table.images[own].reshape(len(own), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        alike = flat @ flat.T
        for i, j in zip(*np.triu_indices(len(own), 1), strict=True):
            if hashes[own[i]] == hashes[own[j]]:
                found.append((own[i], own[j], PAIRS[0]))
            elif alike[i, j] > CORRELATION:
                found.append((own[i], own[j], PAIRS[1]))
    return pd.DataFrame(found, columns=["first", "second", "kind"])


def label_noise(table: FaceTable, pairs: pd.DataFrame) -> pd.DataFrame:
    """How far the labels of the same image lie apart.

    Returns:
        a row for each kind of pair and each two sources with pairs: ``source``, ``kind``, ``pairs``, ``values`` (shared
        labelled coordinates), ``rmse`` of their differences in pixels, ``median`` of the absolute ones, ``mistakes``
        (pairs above `MISTAKE`), ``noise`` (the RMSE without these), ``single`` = noise / sqrt 2: one label's own
        error, if both are equally good.
    """
    names = np.array(table.keypoints.source_names)
    rows = []
    for kind in PAIRS:
        own = pairs[pairs["kind"] == kind]
        first, second = own["first"].to_numpy(int), own["second"].to_numpy(int)
        apart = np.sort(np.stack([table.source[first], table.source[second]], axis=1), axis=1)
        for a, b in np.unique(apart, axis=0):
            which = (apart == (a, b)).all(axis=1)
            source = names[a] if a == b else f"{names[a]} against {names[b]}"
            found = _noise(table.points[first[which]].astype(float) - table.points[second[which]])
            rows.append({"source": source, "kind": kind, **found})
    columns = ["source", "kind", "pairs", "values", "rmse", "median", "mistakes", "noise", "single"]
    return pd.DataFrame([row for row in rows if row["values"]], columns=columns)


def _noise(difference: np.ndarray) -> dict[str, Any]:
    """Figures of `label_noise` for differences (P, K, 2), NaN where not both are labelled."""
    squared, shared = np.nansum(difference**2, axis=(1, 2)), (~np.isnan(difference)).sum(axis=(1, 2))  # (P,)
    difference, squared, shared = difference[shared > 0], squared[shared > 0], shared[shared > 0]
    if not len(shared):
        return {"pairs": 0, "values": 0}
    mistake = squared > MISTAKE**2 * shared
    noise = float(np.sqrt(squared[~mistake].sum() / max(shared[~mistake].sum(), 1)))
    return {
        "pairs": len(shared),
        "values": int(shared.sum()),
        "rmse": float(np.sqrt(squared.sum() / shared.sum())),
        "median": float(np.nanmedian(np.abs(difference))),
        "mistakes": int(mistake.sum()),
        "noise": None if mistake.all() else noise,
        "single": None if mistake.all() else noise / np.sqrt(2),
    }


def floor_by_source(noise: pd.DataFrame, table: FaceTable) -> dict[str, float]:
    """One label's own error by source, of all its duplicates together; ``all`` where every source has some."""
    floor = {}
    for name, own in noise.dropna(subset="single").groupby("source"):
        if name in table.keypoints.source_names:
            squared = own["single"].astype(float) ** 2
            floor[str(name)] = float(np.sqrt((squared * own["pairs"]).sum() / own["pairs"].sum()))
    weights = {name: table.mask[table.source == s].sum() for s, name in enumerate(table.keypoints.source_names)}
    told = [name for name, weight in weights.items() if weight]
    if all(name in floor for name in told):
        squares = sum(weights[name] * floor[name] ** 2 for name in told)
        floor["all"] = float(np.sqrt(squares / sum(weights[name] for name in told)))
    return floor


# Baselines, cross-validated: every fold is answered by what the others hold


def mean_face_points(table: FaceTable, fold_of: np.ndarray) -> np.ndarray:
    """(N, K, 2): the mean face of each row's source in the other folds."""
    points = np.empty_like(table.points)
    for fold in np.unique(fold_of):
        rest = fold_of != fold
        points[~rest] = mean_face(table.points[rest], table.source[rest], table.keypoints)[table.source[~rest]]
    return points


def neighbour_points(table: FaceTable, fold_of: np.ndarray) -> np.ndarray:
    """(N, K, 2): labels of the most similar image of the same source in the other folds; the mean face's where absent.

    Similar is what correlates most, on thumbnails of 24 x 24 pixels.
    """
    points = mean_face_points(table, fold_of)
    small = thumbnails(table.images)
    for source in np.unique(table.source):
        for fold in np.unique(fold_of):
            asked = np.flatnonzero((table.source == source) & (fold_of == fold))
            rest = np.flatnonzero((table.source == source) & (fold_of != fold))
            if len(asked) and len(rest):
                blocks = np.array_split(asked, -(-len(asked) // BLOCK))
                most_alike = np.concatenate([(small[own] @ small[rest].T).argmax(axis=1) for own in blocks])
                nearest = table.points[rest[most_alike]]
                points[asked] = np.where(np.isnan(nearest), points[asked], nearest)
    return points


def rmse_by_source(points: np.ndarray, table: FaceTable) -> dict[str, float]:
    """Pooled RMSE of answers (N, K, 2), of each source and of ``all``."""
    squared = np.square(points.astype(float) - table.points)
    parts = {name: squared[table.source == s] for s, name in enumerate(table.keypoints.source_names)}
    return {name: float(np.sqrt(np.nanmean(own))) for name, own in {**parts, "all": squared}.items() if _any(own)}


def _any(values: np.ndarray) -> bool:
    return not np.isnan(values).all()


# Suspicious labels


def doubted_by_runs(table: FaceTable, runs: Sequence[Run]) -> pd.DataFrame:
    """Labels by how far runs that never saw the face answer elsewhere.

    Args:
        table: the data.
        runs: with predictions, of all folds for all faces to be judged.

    Returns:
        `rank`'s.

    Raises:
        UserError: none of the predictions is of these data.
    """
    place = pd.Series(np.arange(len(table)), index=table.row)
    number = {name: k for k, name in enumerate(table.keypoints.names)}
    every = pd.concat([run.predictions for run in runs])
    every = every[every["row"].isin(place.index) & every["keypoint"].isin(number)]
    every = every.assign(i=place[every["row"]].to_numpy(), k=every["keypoint"].map(number).astype(int))
    truth = table.points[every["i"], every["k"]]
    same = np.isclose(truth, every[["true_x", "true_y"]].to_numpy(), atol=0.01).all(axis=1)
    every = every.iloc[np.flatnonzero(same)]
    if every.empty:
        raise UserError("what=data: the runs given have no predictions on these data; give runs of this data=, or none")
    mean = every.groupby(["i", "k"], as_index=False)[["x", "y"]].mean()
    return rank(table, mean["i"].to_numpy(), mean["k"].to_numpy(), mean[["x", "y"]].to_numpy())


def doubted_by_shape(table: FaceTable, fold_of: np.ndarray) -> pd.DataFrame:
    """Labels by how far they lie from where the face's other points put them.

    A ridge-regularised linear fit, by source, of each point on all others (absent ones count as the mean), learnt on
    the other folds.

    Returns:
        `rank`'s.
    """
    expected = np.full_like(table.points, np.nan)
    for source in np.unique(table.source):
        for fold in np.unique(fold_of):
            asked = np.flatnonzero((table.source == source) & (fold_of == fold))
            rest = np.flatnonzero((table.source == source) & (fold_of != fold))
            if len(asked) and len(rest):
                expected[asked] = _fit_shape(table.points[rest], table.points[asked])
    i, k = np.nonzero(table.mask & ~np.isnan(expected[..., 0]))
    return rank(table, i, k, expected[i, k])


def _fit_shape(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Where each point of the asked faces is expected from their other points; NaN for points that are never known."""
    labelled = ~np.isnan(known)
    mean = np.where(labelled, known, 0).sum(axis=0) / np.maximum(labelled.sum(axis=0), 1)
    centred, own = np.nan_to_num(known - mean), np.nan_to_num(asked - mean)
    expected = np.full_like(asked, np.nan)
    for k in np.flatnonzero(labelled[..., 0].any(axis=0)):
        rows = labelled[:, k, 0]
        others = np.delete(centred[rows], k, axis=1).reshape(rows.sum(), -1).astype(float)
        weights = np.linalg.solve(others.T @ others + RIDGE * np.eye(others.shape[1]), others.T @ centred[rows, k])
        expected[:, k] = mean[k] + np.delete(own, k, axis=1).reshape(len(own), -1) @ weights
    return expected


def rank(table: FaceTable, i: np.ndarray, k: np.ndarray, expected: np.ndarray) -> pd.DataFrame:
    """Labels, the most doubtful first.

    Args:
        table: the data.
        i, k: place of the face and of the point, of each label judged.
        expected: (…, 2) where it should be.

    Returns:
        columns ``i``, ``k``, ``x``, ``y`` (expected), ``error`` in pixels, ``times`` (the error over the median one of
        that source and point: a brow's end is harder to place than an eye's centre), by ``times`` downwards.
    """
    error = np.linalg.norm(table.points[i, k] - expected, axis=1)
    found = pd.DataFrame({"i": i, "k": k, "x": expected[:, 0], "y": expected[:, 1], "error": error})
    typical = found.groupby([table.source[i], k])["error"].transform("median")
    found["times"] = found["error"] / np.maximum(typical, 0.1)
    return found.sort_values("times", ascending=False, kind="stable", ignore_index=True)


# Sections


def _answer(
    table: FaceTable, groups: np.ndarray, floor: Mapping[str, float], known: Mapping[str, Mapping[str, float]]
) -> list[str]:
    counts = [f"{(table.source == s).sum()} {name}" for s, name in enumerate(table.keypoints.source_names)]
    size = np.bincount(np.unique(groups, return_inverse=True)[1])
    lines = [
        f"{len(table)} faces ({', '.join(counts)}), {table.mask.sum()} labelled points. "
        f"{(size[size > 1]).sum()} faces stand in {(size > 1).sum()} groups of near-duplicates."
    ]
    if floor:
        told = ", ".join(f"{name} {value:.2f}" for name, value in floor.items())
        lines.append(f"Noise floor: the labels of duplicates say that one label is itself off by (RMSE, px) {told}.")
    else:
        lines.append("Noise floor: unknown, no two rows show the same image with the same points labelled.")
    face, near = known["mean face"]["all"], known["nearest neighbour"]["all"]
    lines.append(f"Baselines: the mean face is off by {face:.2f} px, the nearest neighbour by {near:.2f} px.")
    return lines


def _scale(floor: Mapping[str, float], known: Mapping[str, Mapping[str, float]], runs: Sequence[Run]) -> dict[str, Any]:
    marks: dict[str, dict[str, float]] = {name: {} for name in ["all", *(n for n in known["mean face"] if n != "all")]}
    for name, own in marks.items():
        if name in floor:
            own["noise floor"] = round(floor[name], 4)
        for run in runs:
            key = "rmse" if name == "all" else f"rmse/{name}"
            if key in run.figures:
                own[f"best run: {figures.shortened(run.name, 40)}"] = round(run.figures[key], 4)
        own |= {baseline: round(found[name], 4) for baseline, found in known.items()}
    note = (
        "RMSE in pixels. A score is read between the floor and the baselines, which are cross-validated over the "
        "split's folds. The floor leaves out pairs of labels that lie far apart (see Duplicates): the scored labels "
        "hold such mistakes too, so that a perfect network stays a little above it."
    )
    return page.section("Between floor and baseline", note, page.figure("scale", figures.scale(marks, "RMSE, px")))


def _counts(table: FaceTable) -> dict[str, Any]:
    names, mask = table.keypoints.names, table.mask
    sources = table.keypoints.source_names
    rows = []
    for k, name in enumerate(names):
        row: dict[str, Any] = {"name": name.replace("_", " ")}
        for s, source in enumerate(sources):
            own = mask[table.source == s, k]
            if len(own) and table.keypoints.labels_of(source)[k]:
                row |= {source: int(own.sum()), f"{source} missing": 100 * float(1 - own.mean())}
        rows.append(row)
    columns = [page.column("name", "keypoint")]
    for source in sources:
        columns.append(page.column(source, f"{source}: labelled", 0))
        columns.append(page.column(f"{source} missing", f"{source}: missing, %", 1, shade=True))
    return page.section("Labels by source and keypoint", "", page.table("counts", columns, rows))


def _patterns(table: FaceTable) -> dict[str, Any]:
    rows = []
    for s, source in enumerate(table.keypoints.source_names):
        wanted = table.keypoints.labels_of(source)
        own = table.mask[table.source == s]
        for pattern, count in Counter(map(tuple, wanted & ~own)).most_common(PATTERNS):
            missing = [
                name.replace("_", " ") for name, gone in zip(table.keypoints.names, pattern, strict=True) if gone
            ]
            said = ", ".join(missing) if len(missing) <= 4 else f"{len(missing)} points, {missing[0]} among them"
            share = 100 * count / len(own)
            rows.append({"missing": said or "nothing", "source": source, "faces": count, "share": share})
    columns = [
        page.column("missing", "missing"),
        page.column("source", "source"),
        page.column("faces", "faces", 0),
        page.column("share", "% of the source", 1),
    ]
    return page.table("patterns", columns, rows)


def _duplicates(
    table: FaceTable, groups: np.ndarray, pairs: pd.DataFrame, noise: pd.DataFrame, faces: int, album: ImageStore
) -> dict[str, Any]:
    size = Counter(np.unique(groups, return_counts=True)[1].tolist())
    told = ", ".join(f"{count} of {faces}" for faces, count in sorted(size.items()) if faces > 1) or "none"
    columns = [
        page.column("source", "labels of"),
        page.column("kind", "images"),
        page.column("pairs", "pairs", 0),
        page.column("values", "values", 0),
        page.column("rmse", "RMSE between, px", 2),
        page.column("median", "median, px", 2, hint="of the absolute differences"),
        page.column("mistakes", f"pairs above {MISTAKE:g} px", 0),
        page.column("noise", "RMSE without these", 2),
        page.column("single", "one label: that / √2", 2),
    ]
    note = (
        "What two labels of one image differ by. Nearly equal images may be cut differently, which counts as noise too."
    )
    shown = _pictures_of_pairs(table, pairs, faces, album)
    return page.section(
        "Duplicates and label noise",
        note,
        page.text(f"Groups of near-duplicates, by their number of faces: {told}."),
        page.table(
            "noise", columns, [{str(key): value for key, value in row.items()} for row in noise.to_dict("records")]
        )
        if len(noise)
        else None,
        page.faces("duplicates", shown),
    )


def _pictures_of_pairs(table: FaceTable, pairs: pd.DataFrame, faces: int, album: ImageStore) -> list[dict[str, Any]]:
    """Pairs spread evenly from those that agree to those that don't; ring: one row's label, dot: the other's."""
    both = pairs[table.source[pairs["first"].astype(int)] == table.source[pairs["second"].astype(int)]]
    apart = table.points[both["first"].astype(int)] - table.points[both["second"].astype(int)]
    count = (~np.isnan(apart)).sum(axis=(1, 2))
    both, apart, count = both[count > 0], apart[count > 0], count[count > 0]
    if both.empty or not faces:
        return []
    rmse = np.sqrt(np.nansum(apart**2, axis=(1, 2)) / count)
    order = np.argsort(-rmse, kind="stable")
    spread = np.unique(np.linspace(0, len(order) - 1, faces).round().astype(int))
    shown = {"furthest apart": order[:faces], "from furthest to nearest": order[spread]}
    return [
        {
            "name": "pairs",
            "groups": [
                {"label": label, "faces": [_pair_face(table, both.iloc[p], rmse[p], album) for p in own]}
                for label, own in shown.items()
            ],
        }
    ]


def _pair_face(table: FaceTable, own: pd.Series, rmse: float, album: ImageStore) -> dict[str, Any]:
    i, j = int(own["first"]), int(own["second"])
    points: list[dict[str, Any]] = []
    for k, name in enumerate(table.keypoints.names):
        point: dict[str, Any] = {"name": name}
        for row, key in ((i, "true"), (j, "found")):
            if table.mask[row, k]:
                point[key] = pair(*table.points[row, k])
        if len(point) > 1:
            points.append(point)
    note = f"ring: row {table.row[i]}, dot: row {table.row[j]}, {table.keypoints.source_names[table.source[i]]}"
    return face(album, table.images[i], f"{rmse:.2f} px apart", points, note)


def _suspicious(
    table: FaceTable, doubts: pd.DataFrame, runs: Sequence[Run], faces: int, album: ImageStore
) -> dict[str, Any]:
    sources, names = table.keypoints.source_names, table.keypoints.names
    rows = [
        {
            "place": place + 1,
            "row": int(table.row[i]),
            "source": sources[table.source[i]],
            "keypoint": names[k].replace("_", " "),
            "error": error,
            "times": times,
            "label": "{:.1f}, {:.1f}".format(*table.points[i, k]),
            "expected": f"{x:.1f}, {y:.1f}",
            **_in_photo(table, i, k),
        }
        for place, (i, k, x, y, error, times) in enumerate(
            doubts.head(LISTED)[DOUBT].itertuples(index=False, name=None)
        )
    ]
    columns = [
        page.column("place", "#", 0),
        page.column("row", "row", 0),
        page.column("source", "source"),
        page.column("keypoint", "keypoint"),
        page.column("times", "times the usual", 1, hint="error over the median error of that source and keypoint"),
        page.column("error", "off by, px", 1),
        page.column("label", "label"),
        page.column("expected", "expected"),
        *([] if table.name is None else [page.column("photo", "label in the photo")]),
    ]
    judged = len(doubts[["i"]].drop_duplicates())
    how = (
        f"Judged by {len(runs)} runs on faces they never saw: {judged} of {len(table)} faces "
        "(runs over all folds score_predictions all)."
        if runs
        else "Judged by where the face's other points put each one (a cross-validated linear fit). Give runs over all "
        "folds as paths to score_predictions by their answers instead."
    )
    note = f"{how} Ring: label. Dot: where it is expected. Look before you remove: a hard face is not a wrong label."
    order = doubts["i"].drop_duplicates().head(faces)
    shown = [_doubted_face(table, doubts[doubts["i"] == i], album) for i in order]
    groups = [{"label": "the most doubtful label of each face decides its place", "faces": shown}]
    return page.section(
        "Suspicious labels",
        note,
        page.faces("suspicious", [{"name": "labels", "groups": groups}] if shown else []),
        page.table("doubts", columns, rows) if rows else None,
    )


def _in_photo(table: FaceTable, i: int, k: int) -> dict[str, str]:
    """Where a label is in its photo, under ``photo``; nothing where faces were cut out of none."""
    if table.name is None or table.to_source is None:
        return {}
    x, y = table.to_source[i] @ [*table.points[i, k], 1]
    return {"photo": f"{table.name[i]}: {x:.1f}, {y:.1f}"}


def _doubted_face(table: FaceTable, own: pd.DataFrame, album: ImageStore) -> dict[str, Any]:
    i, worst = int(own["i"].iloc[0]), own.iloc[0]
    names = table.keypoints.names
    points = [
        {
            "name": f"{names[k]} {error:.1f} px",
            "true": pair(*table.points[i, k]),
            "found": pair(x, y),
        }
        for _, k, x, y, error, _ in own[DOUBT].itertuples(index=False, name=None)
    ]
    source = table.keypoints.source_names[table.source[i]]
    caption = f"{worst['error']:.1f} px, {worst['times']:.0f} x usual"
    note = f"row {table.row[i]}, {source}, {names[int(worst['k'])].replace('_', ' ')}{photo(table, i)}"
    return face(album, table.images[i], caption, points, note)
