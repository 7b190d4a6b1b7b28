"""`python -m facekp.predict photo.jpg …`: the points of the faces in photos, folders, videos or the webcam's pictures.

Names stand as plain arguments, settings as key=value; behind ``--`` everything is a name. Photos stream through: faces
are found, cropped, answered in batches over several photos, and written before the next ones are read. In ``out``:

points.csv   file, frame, face, left, top, right, bottom (the crop answered), keypoint, x, y, confidence, expected_error
points.json  the same, a list of photos; one without a face is there too
pictures/    photos and videos with the points drawn

Coordinates are pixels of the photo (upright, as its EXIF says), 0 the centre of the first; ``expected_error`` as well,
empty where the checkpoint is not calibrated.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import cv2

from facekp.core.errors import UserError
from facekp.core.files import atomic
from facekp.core.keypoints import Keypoints
from facekp.photos.drawing import draw
from facekp.photos.pipeline import Face
from facekp.photos.reading import Photo

COLUMNS = ["file", "frame", "face", "left", "top", "right", "bottom", "keypoint", "x", "y", "confidence"]


class PredictionWriter:
    """Writes what is found as it comes; the files get their names when it is closed.

    Args:
        out: folder.
        keypoints: names and lines of the points.
        pictures: whether photos and videos are drawn as well.
    """

    def __init__(self, out: Path, keypoints: Keypoints, pictures: bool) -> None:
        self.out, self.keypoints, self.pictures = out, keypoints, pictures
        self.photos, self.faces, self.without = 0, 0, 0
        self._files, self._pictures = 0, ExitStack()
        self._video: cv2.VideoWriter | None = None

    def __enter__(self) -> PredictionWriter:
        with ExitStack() as stack:

            def opened(name: str) -> IO[str]:
                draft = stack.enter_context(atomic(self.out / name))
                return stack.enter_context(draft.open("w", encoding="utf-8", errors="surrogateescape", newline=""))

            self._json, table = opened("points.json"), opened("points.csv")
            stack.enter_context(self._pictures)
            self._csv = csv.writer(table, lineterminator="\n")
            self._csv.writerow([*COLUMNS, "expected_error"])
            self._json.write("[")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._json.write("\n]\n")
        self._stack.__exit__(*error)

    def write(self, photo: Photo, faces: Sequence[Face]) -> None:
        """One photo and its faces."""
        self._json.write((",\n" if self.photos else "\n") + json.dumps(self._entry(photo, faces)))
        self._csv.writerows(self._rows(photo, faces))
        self.photos, self.faces, self.without = self.photos + 1, self.faces + len(faces), self.without + (not faces)
        if self.pictures:
            self._draw(photo, faces)

    def _rows(self, photo: Photo, faces: Sequence[Face]) -> Iterator[list[Any]]:
        frame = "" if photo.frame is None else photo.frame
        for i, face in enumerate(faces):
            for point in self._points(face):
                yield [photo.file, frame, i, *face.box, *point.values()]

    def _entry(self, photo: Photo, faces: Sequence[Face]) -> dict[str, Any]:
        height, width = photo.image.shape[:2]
        found = [{"box": list(face.box), "points": list(self._points(face))} for face in faces]
        return {"file": photo.file, "frame": photo.frame, "width": width, "height": height, "faces": found}

    def _points(self, face: Face) -> Iterator[dict[str, Any]]:
        for k, name in enumerate(self.keypoints.names):
            (x, y), error = face.points[k], face.expected_error
            yield {
                "keypoint": name,
                "x": round(float(x), 3),
                "y": round(float(y), 3),
                "confidence": round(float(face.confidence[k]), 4),
                "expected_error": None if error is None else round(float(error[k]), 3),
            }

    def _draw(self, photo: Photo, faces: Sequence[Face]) -> None:
        picture = cv2.cvtColor(draw(photo, faces, self.keypoints), cv2.COLOR_RGB2BGR)
        first = not photo.frame
        self._files += first
        name = f"{self._files:04d}_{_plain_name(photo.file)}"
        if photo.frame is None:
            with atomic(self.out / "pictures" / f"{name}.jpg") as draft:
                draft.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
            return
        if first:
            self._open_video(name, photo)
        assert self._video is not None
        self._video.write(picture)

    def _open_video(self, name: str, photo: Photo) -> None:
        self._pictures.close()
        draft = self._pictures.enter_context(atomic(self.out / "pictures" / f"{name}.mp4"))
        height, width = photo.image.shape[:2]
        code = cv2.VideoWriter.fourcc(*"mp4v")
        part = draft.with_suffix(".mp4")  # OpenCV reads the container off the ending
        self._video = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, code, photo.rate, (width, height))
        if not self._video.isOpened():
            raise UserError(f"{draft.name}: OpenCV can't write a video of {width} x {height} pixels; take draw=false")
        self._pictures.callback(part.replace, draft)
        self._pictures.callback(self._video.release)


def _plain_name(file: str) -> str:
    """A name of a file without what another system, or a browser, may stumble over."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(file).stem)[:80] or "photo"
