"""A writer: labels as the example's reader reads them, in a file with one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path

from facekp.core.files import write_text
from facekp.data.writers.base import WRITERS, LabelFile, Written, labelled_points


@WRITERS.register("example_jsonl")
def write_jsonl(folder: Path, file: LabelFile) -> Written:
    """Write ``labels.jsonl``; points without a label are left out."""
    lines = []
    for face in file.faces:
        points = {name: [x, y] for name, x, y, _ in labelled_points(face, file.keypoints)}
        lines.append(json.dumps({"photo": face.name, "points": points}) + "\n")
    path = folder / "labels.jsonl"
    write_text(path, "".join(lines))
    return Written(path, reader="example_jsonl", keeps_boxes=False, keeps_hidden=False, kept_attributes=())
