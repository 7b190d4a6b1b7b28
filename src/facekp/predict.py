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
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from facekp import cli
from facekp.crop import Crop
from facekp.data.images import Unreadable
from facekp.errors import UserError
from facekp.faces import FaceDetector, build_face_detector
from facekp.files import atomic
from facekp.keypoints import Keypoints
from facekp.photos import Photo, read, sources
from facekp.predictor import KeypointPredictor

log = logging.getLogger(__name__)
MOST_BYTES = 2**26  # of photos that wait for their batch: a few large ones
POINT, LINE, BOX = (255, 59, 48), (255, 149, 0), (52, 199, 89)  # red, green, blue
COLUMNS = ["file", "frame", "face", "left", "top", "right", "bottom", "keypoint", "x", "y", "confidence"]
SHIFT = 4  # bits of a pixel that OpenCV draws at


@dataclass(frozen=True)
class Face:
    """What was found of one face; K points.

    Attributes:
        crop: what the network was shown.
        points: float (K, 2), pixels of the photo.
        confidence: float (K,).
        expected_error: float (K,), pixels of the photo; None where the checkpoint is not calibrated.
    """

    crop: Crop
    points: np.ndarray
    confidence: np.ndarray
    expected_error: np.ndarray | None

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom edge of the crop, pixels of the photo."""
        left, top = self.crop.left - 0.5, self.crop.top - 0.5
        return left, top, left + self.crop.width, top + self.crop.height


def find_points(
    photos: Iterable[Photo],
    predictor: KeypointPredictor,
    detector: FaceDetector,
    refine: bool = True,
    batch: int = 64,
) -> Iterator[tuple[Photo, list[Face]]]:
    """Every photo with its faces, in the photos' order.

    Args:
        photos: are read as they are needed; at most so many wait as have ``batch`` faces, or 64 MB of pixels.
        predictor: answers for crops.
        detector: finds faces.
        refine: crop a face again by the points found where that differs (`Crop.refined`), and answer for that.
        batch: faces answered together.
    """
    waiting: list[tuple[Photo, list[Crop]]] = []
    for photo in photos:
        boxes = detector.find(photo.grey)
        waiting.append((photo, [Crop.of_box(box, detector.margin, predictor.size) for box in boxes]))
        faces = sum(len(crops) for _, crops in waiting)
        if faces >= batch or sum(one.image.nbytes for one, _ in waiting) > MOST_BYTES:
            yield from _answered(waiting, predictor, refine)
            waiting = []
    yield from _answered(waiting, predictor, refine)


def _answered(
    waiting: Sequence[tuple[Photo, list[Crop]]], predictor: KeypointPredictor, refine: bool
) -> Iterator[tuple[Photo, list[Face]]]:
    grey = [photo.grey for photo, crops in waiting for _ in crops]
    faces = _faces([crop for _, own in waiting for crop in own], predictor, grey)
    if refine:
        mean = predictor.mean_face
        better = [face.crop.refined(face.crop.to_crop(face.points), mean) for face in faces]
        again = [i for i, face in enumerate(faces) if better[i] is not face.crop]
        for i, face in zip(again, _faces([better[i] for i in again], predictor, [grey[i] for i in again]), strict=True):
            faces[i] = face
    found = iter(faces)
    for photo, own in waiting:
        yield photo, [next(found) for _ in own]


def _faces(crops: Sequence[Crop], predictor: KeypointPredictor, grey: Sequence[np.ndarray]) -> list[Face]:
    if not crops:
        return []
    answers = predictor.answers(_cut(crops, grey))
    errors = answers.expected_error
    return [
        Face(
            crop,
            crop.to_photo(answers.points[i]),
            answers.confidence[i],
            None if errors is None else errors[i] * crop.scale.mean(),
        )
        for i, crop in enumerate(crops)
    ]


def _cut(crops: Sequence[Crop], grey: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([crop.cut(image) for crop, image in zip(crops, grey, strict=True)])


def draw(photo: Photo, faces: Sequence[Face], keypoints: Keypoints) -> np.ndarray:
    """The photo, uint8 (H, W, 3), with crops, points and the scheme's lines drawn in sizes that suit each face."""
    canvas = photo.image.copy()
    for face in faces:
        size = float(face.crop.width)
        thin, radius = max(1, round(size / 150)), max(size / 60, 1.0)
        left, top, right, bottom = face.box
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        cv2.polylines(canvas, [_fixed(corners)], True, BOX, thin, cv2.LINE_AA, SHIFT)
        for line in keypoints.lines:
            chain = face.points[[keypoints.names.index(name) for name in line]]
            cv2.polylines(canvas, [_fixed(chain)], False, LINE, thin, cv2.LINE_AA, SHIFT)
        for x, y in _fixed(face.points).tolist():
            cv2.circle(canvas, (x, y), round(radius * 2**SHIFT), POINT, cv2.FILLED, cv2.LINE_AA, SHIFT)
    return canvas


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixels as OpenCV's fixed-point numbers, int32."""
    return np.clip(np.round(points * 2**SHIFT), -(2**30), 2**30).astype(np.int32)


class Writer:
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

    def __enter__(self) -> Writer:
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


@dataclass(frozen=True)
class Outcome:
    """How it went: photos and frames read, faces found, photos without one, and files that could not be read."""

    photos: int
    faces: int
    without: int
    broken: list[str]


def predict(config: dict[str, Any], names: Sequence[str]) -> Outcome:
    """Answer for everything named.

    Args:
        config: as conf/predict.yaml composes it.
        names: as `facekp.photos.sources` takes them.

    Raises:
        UserError: a name means nothing, or a checkpoint, the detector or the folder is not usable.
    """
    out = Path(config["out"])
    files = sources(names, without=out)
    predictor = KeypointPredictor.from_checkpoint(
        config["ckpt"], config["source"], config["device"], decoder=config["decoder"]
    )
    detector = build_face_detector(config["detector"])
    broken: list[str] = []
    with Progress(console=Console(stderr=True)) as progress:

        def tell(file: str, why: str) -> None:
            broken.append(file)
            words = f"facekp: skipped: {file}: {why}".encode(errors="backslashreplace").decode()
            progress.console.print(" ".join(words.split()), markup=False, highlight=False, soft_wrap=True)

        photos = _read_all(files, config["frames"], tell)
        shown = _counted(photos, progress, len(files))
        found = find_points(shown, predictor, detector, config["refine"], config["batch"])
        with Writer(out, predictor.keypoints, config["draw"]) as writer:
            try:
                for photo, faces in found:
                    writer.write(photo, faces)
            except KeyboardInterrupt:
                log.warning("stopped; what was found so far is kept")
    return Outcome(writer.photos, writer.faces, writer.without, broken)


def _read_all(files: Sequence[str], frames: int | None, tell: Callable[[str, str], None]) -> Iterator[Photo]:
    """All photos of all files; those that can't be read are told."""
    for file in files:
        try:
            yield from read(file, frames)
        except Unreadable as error:
            tell(file, str(error))


def _counted(photos: Iterator[Photo], progress: Progress, files: int) -> Iterator[Photo]:
    """The photos, while a bar shows the share of all files that was read."""
    bar, done = progress.add_task("photos", total=files), 0.0
    for photo in photos:
        progress.update(bar, completed=min(done + photo.share, files))
        done += photo.share == 1
        yield photo
    progress.update(bar, completed=files)


def main(cfg: DictConfig, names: Sequence[str]) -> Outcome:
    """Hydra's task: answer, tell, and leave with 1 if a file was skipped."""
    config = cli.plain(cfg)
    outcome = predict(config, names)
    log.info("%d faces in %d photos or frames, %d without a face", outcome.faces, outcome.photos, outcome.without)
    log.info("written: %s", config["out"])
    if outcome.broken:
        log.error("%d of the files could not be read", len(outcome.broken))
        sys.exit(1)
    return outcome


if __name__ == "__main__":
    NAMES, sys.argv[1:] = cli.split_arguments(sys.argv[1:])
    cli.run("predict", partial(main, names=NAMES))
