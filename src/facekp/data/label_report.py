"""What a label file contains, its problems, and how to train on it, as lines of text."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from facekp.core.console import count, recorded_warnings
from facekp.core.errors import UserError
from facekp.data.coco.file import FORMAT
from facekp.data.face_crop import BORDER, square_around
from facekp.data.images import UnreadableImage, upright_size
from facekp.data.label_file import LabelFile, defaults_of
from facekp.data.labels.checks import IGNORE_BOXES, check_boxes, check_points
from facekp.data.labels.face import LabelledFace
from facekp.data.labels.faults import SKIP
from facekp.data.labels.json_values import read_json
from facekp.data.labels.photo_names import is_file
from facekp.data.labels.scheme_guess import scheme_yaml
from facekp.data.labels.words import SPLIT, TRAIN, VAL
from facekp.data.writers.base import Written

MAX_PHOTOS = 2000  # whose sizes are read, spread over the file; a header takes a tenth of a millisecond
MAX_VALUES = 6  # of an attribute that are listed
WORD = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)  # needs no quotes on Hydra's command line
NO_TEXTS = ("true", "false", "null", "nan", "inf")  # words that it does not read as texts, in any case
MAX_PATH = 1000  # characters; a longer text in a file is not a folder
ADD_OR_SKIP = f"add them, or leave their faces out by {SKIP}"
MIN_FACES = 10  # faces; fewer show that a program works, and train nothing


def report_of(file: LabelFile, folder: str | None, plugins: Sequence[str] = ()) -> list[str]:
    """The lines that ``facekp.data.inspect`` prints.

    Args:
        file: the label file.
        folder: for ``--config-dir``, that holds the scheme; None: the scheme is printed.
        plugins: modules that the command needs.
    """
    problems = list(_problems(file))
    lines = [
        f"{file.settings.label_file}: data={file.settings.name}",
        *_summary(file),
        "problems:" if problems else "problems: none",
        *(f"- {line}" for line in problems),
    ]
    if not file.is_shipped and folder is None:
        name = f"{file.keypoints.name}.yaml"
        lines += [f"scheme: save it as DIR/keypoints/{name}, or let out=DIR write it; check pairs and normaliser", ""]
        lines += [scheme_yaml(file.keypoints)]
    return [*lines, "train on it:", f"  {train_command(file, folder, problems, plugins)}"]


def train_command(file: LabelFile, folder: str | None, problems: Sequence[str], plugins: Sequence[str]) -> str:
    """The command that trains on the file.

    Args:
        file: the label file.
        folder: of a new scheme; None: ``DIR``, a folder that the user has to make.
        problems: settings that they name are added.
        plugins: modules that were imported for the reader.
    """
    settings, usual = file.settings, defaults_of(file.settings.name)
    own = {"images", "labels", "cache", "skip_broken", "name"}
    changed = {key: value for key, value in settings.plain().items() if key not in own and value != usual.get(key)}
    arguments = [
        *([] if file.is_shipped else [f"--config-dir={folder or 'DIR'}"]),
        f"data={settings.name}",
        f"data.images={settings.images if file.has_photos else 'FOLDER'}",
        f"data.labels={settings.labels}",
        *(f"data.{key}={_plain(value)}" for key, value in changed.items()),
        *_of_problems(problems),
        *_of_scheme(file),
        *_split(file),
    ]
    return _training(arguments, plugins)


def converted_command(file: LabelFile, folder: Path, written: Written, plugins: Sequence[str] = ()) -> str:
    """The command that trains on what a writer wrote, with the scheme in ``folder`` and the modules of ``plugins``."""
    problems = [problem for problem in _problems(file) if problem not in file.warnings]  # of reading: faces left out
    if written.added_boxes > sum(face.box is not None for face in file.faces):  # most boxes end at the points
        problems.append(IGNORE_BOXES)
    arguments = [
        *([] if file.is_shipped else [f"--config-dir={folder}"]),
        f"data={written.reader}",
        f"data.images={written.images or (file.settings.images if file.has_photos else 'FOLDER')}",
        f"data.labels={written.path}",
        *_of_problems(problems),
        *_of_scheme(file),
        *_of_groups(file, written),
        *_split(file, written),
    ]
    return _training(arguments, plugins)


def _training(arguments: Sequence[str], plugins: Sequence[str]) -> str:
    again = [f"plugins=[{','.join(plugins)}]"] if plugins else []
    return shlex.join(["python", "-m", "facekp.train", *arguments, *again])


def _of_problems(problems: Sequence[str]) -> list[str]:
    """The settings that problems name as a way out."""
    text = " ".join(problems)
    return [setting for setting in (IGNORE_BOXES, SKIP) if setting in text]


def _split(file: LabelFile, written: Written | None = None) -> list[str]:
    """The file's own split, if it has one; or a fold per photo, if there are fewer photos than folds."""
    if written is None and file.settings.held_out is not None:  # is among the arguments already
        return []
    if {TRAIN, VAL} <= {face.attributes.get(SPLIT) for face in file.faces} and _is_kept(SPLIT, written):
        return [f"data.held_out={{{SPLIT}:{VAL}}}", f"subset={{{SPLIT}:{TRAIN}}}"]
    photos = len({face.name for face in file.faces})
    return [f"data.folds={photos}"] if 2 <= photos < file.settings.folds else []


def _of_groups(file: LabelFile, written: Written) -> list[str]:
    """``data.group_by`` with the attributes that the new file has as well."""
    names = [name for name in file.settings.group_by or () if _is_kept(name, written)]
    return [f"data.group_by={_plain(names)}"] if names else []


def _is_kept(attribute: str, written: Written | None) -> bool:
    """Whether what was written, or None for the file itself, holds an attribute."""
    return written is None or written.kept_attributes is None or attribute in written.kept_attributes


def _of_scheme(file: LabelFile) -> list[str]:
    """The scheme, without mirror images if it has several points whose left and right are not known."""
    mirrored = file.keypoints.pairs or len(file.keypoints.names) == 1
    return [f"keypoints={file.keypoints.name}", *([] if mirrored else ["augment.flip=0"])]


def _plain(value: object) -> str:
    """A value as Hydra's command line has it.

    Example:
        >>> print(_plain(None), _plain(["a", "b c"]), _plain({"split": ["val"], "take": ["03"]}))
        null [a,'b c'] {split:[val],take:['03']}
    """
    if isinstance(value, list):
        return f"[{','.join(map(_plain_item, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{_plain_item(one)}' for name, one in value.items())}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _plain_item(value: object) -> str:
    """An entry of a list or a mapping; texts that could be read as something else are in quotes."""
    if isinstance(value, str) and (not WORD.fullmatch(value) or value.lower() in NO_TEXTS):
        return "'" + value.replace("'", "\\'") + "'"
    return _plain(value)


def _summary(file: LabelFile) -> Iterator[str]:
    faces, names = file.faces, file.keypoints.names
    labelled = np.array([(~np.isnan(face.points[:, 0])).sum() for face in faces])
    yield f"faces: {len(faces)} in {count(len({face.name for face in faces}), 'photo')}, such as {faces[0].name}"
    if file.has_photos:
        yield f"photos: in {file.settings.images}"
    else:
        stated = _stated_folder(file)
        hint = f"; the file names {stated}" if stated else ""
        yield f"photos: not found beside the file; name their folder with images=FOLDER{hint}"
    scheme = f"keypoints={file.keypoints.name}" + (", a new scheme" if file.is_new else "")
    fewest, most = labelled.min(), labelled.max()
    yield f"points: {len(names)}, {scheme}; " + (
        f"{most} labelled in each face" if fewest == most else f"between {fewest} and {most} labelled in a face"
    )
    hidden = sum(int((face.visible == 1).sum()) for face in faces if face.visible is not None)
    if any(face.visible is not None for face in faces):
        yield f"hidden points: {hidden} of {labelled.sum()}"
    yield f"boxes: {sum(face.box is not None for face in faces)} of {count(len(faces), 'face')}"
    for name in dict.fromkeys(name for face in faces for name in face.attributes):
        values = Counter(face.attributes.get(name, "not stated") for face in faces)
        common = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
        shown = ", ".join(f"{value} ({times})" for value, times in common)
        yield f"attribute {name}: {shown}" + (", ..." if len(values) > MAX_VALUES else "")


def _stated_folder(file: LabelFile) -> str | None:
    """The photos' folder in ``info.folder`` of a COCO file, which `predict` writes; for a hint, never to read."""
    if file.settings.name != "coco":
        return None
    content = read_json(file.settings.label_file, FORMAT)
    info = content.get("info")
    folder = info.get("folder") if isinstance(info, dict) else None
    is_path = isinstance(folder, str) and 0 < len(folder) <= MAX_PATH
    return repr(folder) if is_path else None  # control characters escaped


def _problems(file: LabelFile) -> Iterator[str]:
    faces = file.faces
    yield from file.warnings
    with recorded_warnings(shown=False) as warnings:
        try:
            check_boxes(check_points(faces))
        except UserError as error:
            warnings.append(str(error))
    yield from warnings
    never = np.all(np.isnan([face.points[:, 0] for face in faces]), axis=0)
    if never.any():
        names = [name for name, is_never in zip(file.keypoints.names, never.tolist(), strict=True) if is_never]
        yield f"points without any label: {', '.join(names)}"
    if cut := sum(_points_outside_box(face) for face in faces):
        yield f"{count(cut, 'point')} outside the box of the face, which would count as missing; set {IGNORE_BOXES}"
    if not file.keypoints.pairs and len(file.keypoints.names) > 1:
        yield "the scheme has no pairs of a left and a right point: add them, or train without mirror images as below"
    if len(faces) < MIN_FACES:
        yield f"only {count(len(faces), 'face')}: enough to try the commands, not to train"
    if file.has_photos:
        yield from _photo_problems(faces, Path(file.settings.images))


def _points_outside_box(face: LabelledFace) -> int:
    """How many points the square around the face's box leaves out."""
    if face.box is None or np.isnan(face.points).all():
        return 0
    left, top, side = square_around(face.box)
    first = np.array([left, top]) - BORDER
    edges = face.points[~np.isnan(face.points[:, 0])] + 0.5  # pixel centres to edges
    return int(((edges < first) | (edges > first + side + 2 * BORDER)).any(axis=1).sum())


def _photo_problems(faces: Sequence[LabelledFace], folder: Path) -> Iterator[str]:
    """Photos that are missing or of another size than stated, and points and boxes outside them."""
    names = list(dict.fromkeys(face.name for face in faces))
    missing = [name for name in names if not is_file(folder, name)]
    if missing:
        yield f"{len(missing)} of {len(names)} photos are missing in {folder}, such as {missing[0]}; {ADD_OR_SKIP}"
    looked_at = [name for name in names if name not in set(missing)][:: len(names) // MAX_PHOTOS + 1]
    sizes, broken = {}, []
    for name in looked_at:
        try:
            sizes[name] = upright_size(str(folder / name))
        except (UnreadableImage, UnidentifiedImageError, OSError):
            broken.append(name)
    if broken:
        yield f"{count(len(broken), 'photo')} can't be read, such as {broken[0]}; {ADD_OR_SKIP}"
    placed = [(face, sizes[face.name]) for face in faces if face.name in sizes]
    for fault, what in (
        (_has_other_size, "whose photo has another size than the file states"),
        (_has_points_outside, "with points outside the photo, which count as missing"),
        (_has_box_outside, "whose box reaches beyond the photo"),
    ):
        if faulty := [face for face, size in placed if fault(face, size)]:
            yield f"{count(len(faulty), 'face')} {what}, such as {faulty[0].where}"


def _has_other_size(face: LabelledFace, size: tuple[int, int]) -> bool:
    return face.size is not None and face.size != size


def _has_points_outside(face: LabelledFace, size: tuple[int, int]) -> bool:
    known = face.points[~np.isnan(face.points[:, 0])]
    return bool(((known < -0.5) | (known > size)).any())


def _has_box_outside(face: LabelledFace, size: tuple[int, int]) -> bool:
    left, top, right, bottom = face.box or (0, 0, 0, 0)
    return left < 0 or top < 0 or right > size[0] or bottom > size[1]
