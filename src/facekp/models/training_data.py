"""Warns of predictions that a checkpoint's training data do not support: points without labels, other kinds of data.

Checkpoints or exported files come in, at most one warning of each sort goes out. A file that does not record its
training data gives none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from facekp.core.console import listed
from facekp.core.keypoints import Keypoints
from facekp.data.near_duplicates import known_faces
from facekp.data.settings import DataSettings
from facekp.data.table import FaceTable
from facekp.models.checkpoint import LoadedCheckpoint
from facekp.models.onnx_model import LoadedOnnx

log = logging.getLogger(__name__)

DRAWN = "drawn faces"
KINDS = {"synthetic": DRAWN, "kaggle": "the competition's images"}  # by reader; those with photos: photos
IDENTIFYING = ("dir", "images", "labels", "category", "seed")  # settings of the data that say which data they are
FILES = ("images", "labels")  # settings of photos that are paths
MIN_RECOGNISED = 0.1  # of the faces; a training on one fold of two, and on complete rows only, has more of its data
CROPPING = ("name", *FILES, "category", "size", "margin", "boxes", "channels")  # settings that decide on faces' crops

Models = Sequence[LoadedCheckpoint | LoadedOnnx]


# Points without labels


def warn_of_untrained(models: Models, needed: np.ndarray) -> None:
    """Warn of predicted points without training labels.

    Args:
        models: those of another scheme than ``needed`` are passed over.
        needed: bool (S, K), the points of each source that are predicted.
    """
    faults = {}
    for loaded in models:
        if loaded.labels is None or loaded.labels.shape != needed.shape:
            continue
        if (untrained := needed & (loaded.labels == 0)).any():
            faults[loaded.path] = name_points(loaded.model.keypoints, untrained)
    if faults:
        path, points = next(iter(faults.items()))
        others = f" (and {len(faults) - 1} more files)" if len(faults) > 1 else ""
        log.warning("%s%s: no label of %s trained it, so its predictions of them mean nothing", path, others, points)


def warn_of_unscored(table: FaceTable, held_out: np.ndarray) -> None:
    """Warn, in one line, of labelled points that no validation row has a label of.

    Args:
        table: all rows.
        held_out: bool (N,), the validation rows.
    """
    missing = labelled_points(table) & ~labelled_points(table.take(held_out))
    if not missing.any():
        return
    if not table.mask[held_out].any():
        log.warning(
            "no validation row (of %d) has a label: nothing is scored, and best.ckpt is that of the last epoch; hold "
            "out other rows (data.fold, data.held_out), or label more rows",
            held_out.sum(),
        )
    else:
        log.warning(
            "no validation row has a label of %s, so they are not scored; hold out other rows (data.fold, "
            "data.held_out), or label more rows",
            name_points(table.keypoints, missing),
        )


def points_of_sources(keypoints: Keypoints, sources: Sequence[int] | np.ndarray) -> np.ndarray:
    """bool (S, K): all points that these sources label, in mirror images too."""
    chosen = np.zeros((len(keypoints.sources), len(keypoints.names)), dtype=bool)
    for s in np.unique(np.asarray(sources, dtype=int)):
        chosen[s] = keypoints.labelled_or_mirrored(keypoints.source_names[s])
    return chosen


def labelled_points(table: FaceTable) -> np.ndarray:
    """bool (S, K): the points that rows of each source have a label of."""
    return np.stack([table.mask[table.source == s].any(axis=0) for s in range(len(table.keypoints.sources))])


def name_points(keypoints: Keypoints, chosen: np.ndarray) -> str:
    """The points as a text, by source where there are several.

    Args:
        keypoints: the scheme.
        chosen: bool (S, K).

    Example:
        >>> scheme = Keypoints.from_dict(
        ...     {"name": "face", "names": ["eye", "nose"], "sources": {"mine": None, "theirs": ["nose"]}}
        ... )
        >>> name_points(scheme, np.array([[True, False], [False, True]]))
        'eye by source mine, all points by source theirs'
    """
    parts = []
    for source, of_source in zip(keypoints.source_names, chosen, strict=True):
        names = [name for name, wanted in zip(keypoints.names, of_source, strict=True) if wanted]
        if not names:
            continue
        every = bool(of_source[keypoints.labelled_or_mirrored(source)].all())
        text = "all points" if every else listed(names, noun="points")
        parts.append(f"{text} by source {source}" if len(keypoints.sources) > 1 else text)
    return ", ".join(parts)


# Other kinds of data


def warn_of_other_data(models: Models, data: DataSettings) -> None:
    """Warn of checkpoints that were trained on data of another kind than the data they predict."""
    predicted = data.plain()
    _warn_of_kind(models, predicted, f"{_kind(predicted)} (data={data.name})")


def warn_of_drawn_faces(models: Models) -> None:
    """Warn of checkpoints that were trained on drawn faces and predict photos."""
    for loaded in models:
        if _kind(loaded.data) == DRAWN:
            _warn_of_kind([loaded], {}, "photos")
            return


def _warn_of_kind(models: Models, predicted: Mapping[str, Any], shown: str) -> None:
    for loaded in models:
        kind = _kind(loaded.data)
        if kind is not None and kind != _kind(predicted):
            name = loaded.data["name"]
            log.warning(
                "%s: was trained on %s (data=%s), but predicts %s; expect larger errors", loaded.path, kind, name, shown
            )
            return


def warn_of_other_crops(models: Models, hashes: np.ndarray, data: DataSettings) -> None:
    """Warn of a checkpoint that was trained on the same photos, of which few faces are recognised.

    Training faces of a checkpoint are recognised by the pixels of their crops and of their photos
    (`facekp.data.near_duplicates.face_hashes`). An older checkpoint does not record photos: faces with another
    margin, size or box, or with corrected labels but no box, would be scored as new ones. So would faces of photos that
    were changed since. Other files give no warning, as they most often list other photos.

    Args:
        models: checkpoints or exported files.
        hashes: int64 (N, H) of all faces of the data.
        data: settings of the data; those that read no photos give no warning.
    """
    now = data.plain()
    for loaded in models:
        if loaded.trained_on is None or not set(FILES) <= now.keys() & loaded.data.keys():
            continue
        if loaded.data["images"] is None:  # a packed checkpoint keeps no paths
            continue
        changed = [key for key in CROPPING if _differs(key, loaded.data, now)]
        if set(FILES) & set(changed) or any(now.get(key) != loaded.data.get(key) for key in ("rows", "only")):
            continue
        recognised = int(known_faces(hashes, loaded.trained_on).sum())
        if recognised > MIN_RECOGNISED * min(len(loaded.trained_on), len(hashes)):
            continue
        before = " ".join(f"data.{key}={loaded.data[key]}" for key in changed)
        log.warning(
            "%s: only %d of these %d faces were recognised as its training faces, as %s; so training photos may be "
            "scored as new ones; give %s, or photos that it was not trained on",
            loaded.path,
            recognised,
            len(hashes),
            f"the training had {before}" if changed else "the labels or the photos have changed since",
            "these settings" if changed else "the files of the training",
        )
        return


def _differs(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a setting of the data is another one; one that either lacks is not."""
    if key not in before or key not in now:
        return False
    if key in FILES and None not in (before[key], now[key]):
        return _resolved(before[key]) != _resolved(now[key])
    return bool(before[key] != now[key])


def _resolved(paths: str | list[str]) -> list[Path]:
    return [Path(path).expanduser().resolve() for path in ([paths] if isinstance(paths, str) else paths)]


def warn_of_mixed_data(models: Models) -> None:
    """Warn of checkpoints that were trained on different data and predict together."""
    for one, other in combinations(models, 2):
        if not _is_same_data(one, other):
            log.warning(
                "%s was trained on %s, but %s on %s: their mean may be worse than the better of them",
                one.path,
                _place(one.data),
                other.path,
                _place(other.data),
            )
            return


def _is_same_data(one: LoadedCheckpoint | LoadedOnnx, other: LoadedCheckpoint | LoadedOnnx) -> bool:
    """Whether the data are the same as far as known: equal settings, or mostly the same images."""
    kinds = _kind(one.data), _kind(other.data)
    if None in kinds:
        return True
    if kinds[0] != kinds[1]:
        return False
    known = [(one.data[key], other.data[key]) for key in IDENTIFYING if key in one.data and key in other.data]
    if all(None in pair or pair[0] == pair[1] for pair in known):
        return True
    if one.trained_on is None or other.trained_on is None:
        return False
    common = len(np.intersect1d(one.trained_on, other.trained_on))
    return 2 * common > min(len(one.trained_on), len(other.trained_on))


def _kind(data: Mapping[str, Any]) -> str | None:
    """What sort of images the data have; None where the settings are unknown."""
    if "images" in data:
        return "photos"
    name = data.get("name")
    return None if name is None else KINDS.get(name, f"data of reader {name}")


def _place(data: Mapping[str, Any]) -> str:
    """The data in a message: as they are given on a command line."""
    given = [f"data.{key}={data[key]}" for key in IDENTIFYING if data.get(key) is not None]
    return " ".join([f"data={data['name']}", *given])
