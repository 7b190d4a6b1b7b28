"""Writes predictions for photos as they come: tables and, if wanted, photos and videos with the points drawn.

In the output folder:

- points.csv: one row per keypoint with file, frame, face, track, left, top, right, bottom (edges of the crop),
  keypoint, x, y, confidence, expected_error;
- points.json: the same as a list of photos, including photos without a face; numbers that are not finite are null;
- coco.json: the same in COCO's format (`facekp.photos.coco`);
- pictures/: photos and videos with the points drawn, and contact sheets (`facekp.photos.contact_sheet`).

``face`` counts the faces of a photo or a frame. ``track`` is the number of a face in its video, the same in all frames.

Coordinates and ``expected_error`` are in pixels of the upright photo (turned as its EXIF data say); 0 is the centre of
the first pixel. ``expected_error`` is empty if the checkpoint is not calibrated. A drawn video repeats the last frame
in place of frames that could not be read, so that it keeps its time.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facekp.core.csv_cells import neutral
from facekp.core.errors import CannotWrite
from facekp.core.files import atomic, cannot_write, remove_parts
from facekp.core.keypoints import Keypoints
from facekp.photos.coco import write_coco
from facekp.photos.contact_sheet import ContactSheets
from facekp.photos.drawing import draw
from facekp.photos.drawn_video import DrawnVideo
from facekp.photos.face import Face
from facekp.photos.files import PICTURES, POINTS
from facekp.photos.growing_file import GrowingFile
from facekp.photos.reading import Photo

log = logging.getLogger(__name__)

COLUMNS = [
    "file", "frame", "face", "track", "left", "top", "right", "bottom", "keypoint", "x", "y", "confidence",
    "expected_error",
]  # fmt: skip

COCO = "coco.json"

PICTURE_NAME = re.compile(r"\d{4,6}_.*\.(jpg|mp4)|contact_sheet_\d+\.jpg")  # names of pictures that a call may write


class PredictionWriter:
    """A context manager that writes predictions photo by photo. Files appear under their names when it is closed.

    Args:
        out: output folder.
        keypoints: names and lines of the points.
        pictures: whether to write photos and videos with the points drawn.

    Attributes:
        photos: number of photos and frames written so far.
        frames: number of frames of videos among them.
        faces: number of faces in them.
        without: number of photos and frames without a face.
        not_finite: number of predicted points that are NaN or infinite.
        points, mean_face: number of predicted points, and of those among them that are the mean face's.
        undrawn: names of the videos that could not be drawn.
    """

    def __init__(self, out: Path, keypoints: Keypoints, pictures: bool) -> None:
        self.out, self.keypoints, self.pictures = out, keypoints, pictures
        self.photos, self.frames, self.faces, self.without, self.not_finite = 0, 0, 0, 0, 0
        self.points, self.mean_face = 0, 0
        self.undrawn: list[str] = []
        self._pictures_started = 0
        self._video: DrawnVideo | None = None
        self._last: tuple[str, int] = ("", -1)  # file and number of the last frame
        self._sheets = ContactSheets(keypoints, self._write_sheet)

    def __enter__(self) -> PredictionWriter:
        for folder in (self.out, self.out / PICTURES):
            remove_parts(folder)
        # Pictures of earlier predictions, which points.csv will no longer list. They stay if this call fails.
        pictures = (self.out / PICTURES).glob("*") if (self.out / POINTS).is_file() else ()
        self._earlier = {path for path in pictures if PICTURE_NAME.fullmatch(path.name) and path.is_file()}
        with ExitStack() as stack:

            def opened(name: str, start: str, end: str = "") -> GrowingFile:
                draft = stack.enter_context(atomic(self.out / name))
                return stack.enter_context(GrowingFile(draft, start, end))

            self._json, self._csv = opened(POINTS, "[", "\n]\n"), opened("points.csv", _csv_text([COLUMNS]))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._end_video()
            elif self._video is not None:
                self._video.discard()
        finally:
            self._stack.__exit__(*error)
        if error[0] is None:
            for path in (self.out / COCO, *self._earlier):  # `finish` writes the new coco.json
                with suppress(OSError):
                    path.unlink()

    def finish(self) -> None:
        """After the tables are closed, write what needs all photos: coco.json, and the last contact sheet.

        Raises:
            CannotWrite: a file cannot be written.
        """
        write_coco(self.out / COCO, self.out / POINTS, self.keypoints)
        if self.pictures:
            self._sheets.close()

    def write(self, photo: Photo, faces: Sequence[Face]) -> None:
        """Write one photo and its faces.

        Raises:
            CannotWrite: a file cannot be written. The tables hold the photos before.
        """
        entry = (",\n" if self.photos else "\n") + json.dumps(self._json_entry(photo, faces), allow_nan=False)
        lengths = self._json.length, self._csv.length
        try:
            self._json.append(entry)
            self._csv.append(_csv_text(self._csv_rows(photo, faces)))
        except BaseException as error:  # a signal, too: both tables end with the same photo
            self._json.length, self._csv.length = lengths
            if isinstance(error, OSError):
                raise cannot_write(self.out / POINTS, error) from error
            raise
        self.photos += 1
        self.frames += photo.frame is not None
        self.faces += len(faces)
        self.without += not faces
        self.not_finite += sum(int((~np.isfinite(face.points).all(axis=1)).sum()) for face in faces)
        self.points += sum(len(face.points) for face in faces)
        self.mean_face += sum(int(face.mean_face.sum()) for face in faces if face.mean_face is not None)
        if self.pictures:
            self._write_picture(photo, faces)
            self._sheets.add(photo, faces)

    def _csv_rows(self, photo: Photo, faces: Sequence[Face]) -> Iterator[list[Any]]:
        frame = "" if photo.frame is None else photo.frame
        for i, face in enumerate(faces):
            track = "" if face.track is None else face.track
            for point in self._points(face):
                yield [neutral(photo.file), frame, i, track, *face.box, *map(neutral, point.values())]

    def _json_entry(self, photo: Photo, faces: Sequence[Face]) -> dict[str, Any]:
        height, width = photo.image.shape[:2]
        entries = [{"track": face.track, "box": list(face.box), "points": list(self._points(face))} for face in faces]
        return {"file": photo.file, "frame": photo.frame, "width": width, "height": height, "faces": entries}

    def _points(self, face: Face) -> Iterator[dict[str, Any]]:
        """What is written of each keypoint, in the order of the columns."""
        for k, name in enumerate(self.keypoints.names):
            (x, y), error = face.points[k], face.expected_error
            yield {
                "keypoint": name,
                "x": _rounded(x, 3),
                "y": _rounded(y, 3),
                "confidence": _rounded(face.confidence[k], 4),
                "expected_error": None if error is None else _rounded(error[k], 3),
            }

    def _write_picture(self, photo: Photo, faces: Sequence[Face]) -> None:
        """Write the photo with its points, or add a frame to the video."""
        picture = cv2.cvtColor(draw(photo, faces, self.keypoints), cv2.COLOR_RGB2BGR)
        last_file, last_frame = self._last
        first = photo.frame is None or photo.file != last_file or photo.frame <= last_frame
        self._pictures_started += first
        name = f"{self._pictures_started:04d}_{_portable_name(photo.file)}"
        if photo.frame is None:
            self._write_jpeg(f"{name}.jpg", picture)
            self._last = ("", -1)
            return
        if first:
            self._begin_video(f"{name}.mp4", photo)
            last_frame = -1
        if self._video is not None:
            self._video.write(picture, missing=photo.frame - last_frame - 1)
        self._last = (photo.file, photo.frame)

    def _write_sheet(self, number: int, page: np.ndarray) -> None:
        self._write_jpeg(f"contact_sheet_{number}.jpg", cv2.cvtColor(page, cv2.COLOR_RGB2BGR))

    def _write_jpeg(self, name: str, picture: np.ndarray) -> None:
        """Write a picture, uint8 (H, W, 3), BGR."""
        with atomic(self._new_picture(name), durable=False) as draft:
            draft.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())

    def _new_picture(self, name: str) -> Path:
        """A picture of this call, which replaces an earlier one of the same name."""
        path = self.out / PICTURES / name
        self._earlier.discard(path)
        return path

    def _begin_video(self, name: str, photo: Photo) -> None:
        """End the last video and begin a new one."""
        self._end_video()
        height, width = photo.image.shape[:2]
        try:
            self._video = DrawnVideo(self._new_picture(name), (width, height), photo.rate)
        except (CannotWrite, cv2.error) as error:
            self._report_undrawn(name, error)

    def _end_video(self) -> None:
        video, self._video = self._video, None
        try:
            if video is not None:
                video.close()
        except (CannotWrite, OSError, cv2.error) as error:
            assert video is not None
            self._report_undrawn(video.path.name, error)

    def _report_undrawn(self, name: str, error: Exception) -> None:
        """A video that can't be drawn is a problem of its own: the tables hold its points."""
        self.undrawn.append(name)
        log.error("%s", error)


def _csv_text(rows: Iterable[Sequence[Any]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rounded(value: float, digits: int) -> float | None:
    """A number for JSON; None if it is not finite."""
    return round(float(value), digits) if math.isfinite(value) else None


def _portable_name(file: str) -> str:
    """A file's name without characters that other systems or browsers may not accept, at most 80 long."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(file).stem)[:80] or "photo"
