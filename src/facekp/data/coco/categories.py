"""Which categories of a COCO file are read, and the order of their points.

Public face files often name no points in ``categories``. Their points are then those of the scheme, in its order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.coco.file import FORMAT, CocoFile, Id, id_of
from facekp.data.labels.json_values import shown
from facekp.data.labels.point_names import check_count, index_by_name

ALL = "all"  # as data.category
CHOOSE = "choose one with data.category=NAME, several with data.category=[A,B], or all with data.category=all"


class Category(NamedTuple):
    """A category of a COCO file.

    Attributes:
        id: None: the file has no categories, and this one stands for all annotations.
        name: as in the file.
        point_names: of its points, in their order; empty where the file does not name them.
        counts: how many of its annotations have how many points.
    """

    id: Id | None
    name: str
    point_names: tuple[str, ...]
    counts: Counter[int]


def categories_with_points(file: CocoFile, key: str) -> list[Category]:
    """The categories that name points, or, if none does, those whose annotations have points.

    Args:
        file: the file.
        key: of an annotation's points, such as ``keypoints``. The category names these only.

    Raises:
        UserError: a category is not valid, or two have one id.
    """
    counts: dict[Id | None, Counter[int]] = {}
    for annotation in file.annotations:
        points = number_of_points(annotation.get(key))
        with suppress(UserError):  # a fault of one face, which is reported where the face is parsed
            if points:
                counts.setdefault(category_of(file, annotation), Counter())[points] += 1
    if not file.categories:
        return [Category(None, ALL, (), counts.get(None, Counter()))]
    where = f"{file.path}: categories"
    categories: list[Category] = []
    name_of: dict[Id, str] = {}
    for raw in file.categories:
        given = raw.get("keypoints") or ()
        if not isinstance(given, (list, tuple)):
            raise UserError(f"{file.where('categories', raw)}: keypoints is not a list of names; correct or remove it")
        names = tuple(map(str, given)) if key == "keypoints" else ()
        number = id_of(where, raw, "id")
        if number in name_of:
            raise UserError(
                f"{where}: id {shown(number)} is duplicated, in {name_of[number]} and {shown(raw.get('name'))}; give "
                "every category a different id, and its annotations the same category_id"
            )
        name_of[number] = shown(raw.get("name"))
        categories.append(Category(number, str(raw.get("name")), names, counts.get(number, Counter())))
    named = [category for category in categories if category.point_names]
    return named or [category for category in categories if category.counts]


def category_of(file: CocoFile, annotation: Any) -> Id | None:
    """The id of an annotation's category; None where the file has no categories.

    Raises:
        UserError: the annotation has none.
    """
    return id_of(file.where("annotations", annotation), annotation, "category_id") if file.categories else None


def category_ids(file: CocoFile) -> set[Id | None]:
    """The ids of all categories of a file; None among them where it has no categories."""
    return {id_of(f"{file.path}: categories", raw, "id") for raw in file.categories} or {None}


def number_of_points(values: Any) -> int:
    """How many points a list x, y, v, x, y, v, ... has; 0 for anything else."""
    return len(values) // 3 if isinstance(values, list) else 0


def choose_categories(file: CocoFile, usable: Sequence[Category], wanted: str | Sequence[str] | None) -> list[Category]:
    """The categories to read.

    Args:
        file: the file, for messages.
        usable: from `categories_with_points`.
        wanted: their names; ``all``: all of them; None: the only one.

    Raises:
        UserError: no category has points, none of them has that name, or several have points and none was chosen.
    """
    if not usable:
        raise UserError(f"{file.path}: no category has keypoints; give {FORMAT}, or correct data.part")
    names = [category.name for category in usable]
    if wanted is None:
        if len(usable) != 1:
            raise UserError(f"{file.path}: categories with keypoints: {', '.join(names)}; {CHOOSE}")
        return list(usable)
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    if wanted == [ALL]:
        return list(usable)
    for name in wanted:
        if name not in names:
            raise UserError(
                f"data.category={name}: {file.path} has no such category with keypoints; choose one of: "
                f"{', '.join(names)}"
            )
    return [category for category in usable if category.name in wanted]


def point_orders(file: CocoFile, categories: Iterable[Category], keypoints: Keypoints) -> dict[Id | None, np.ndarray]:
    """By category: int (K,), the position of each point of the scheme in an annotation's list.

    Raises:
        UserError: the category has other points than the scheme, or another number of them.
    """
    return {category.id: _point_order(file, category, keypoints) for category in categories}


def _point_order(file: CocoFile, category: Category, keypoints: Keypoints) -> np.ndarray:
    where = f"{file.path}: category {category.name!r}"
    if not category.point_names:
        if category.counts:
            check_count(category.counts.most_common(1)[0][0], keypoints, f"{where}, which names no points")
        return np.arange(len(keypoints.names))
    if len(set(category.point_names)) != len(category.point_names):
        raise UserError(f"{where}: a name of its keypoints is duplicated; give every point a different name")
    index = index_by_name(category.point_names, keypoints, where)
    return np.argsort([index[name] for name in category.point_names])
