"""The work of `facekp predict`: everything that is named is read, predicted and written to the output folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from facekp.data.images import UnreadableImage
from facekp.models.predictor import KeypointPredictor
from facekp.models.training_data import warn_of_drawn_faces
from facekp.photos.detectors import build_face_detector
from facekp.photos.output import PredictionWriter
from facekp.photos.pipeline import find_points
from facekp.photos.reading import Photo, list_files, read_photos
from facekp.photos.settings import PredictSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Counts of a run.

    Attributes:
        photos: photos and frames that were read.
        faces: faces that were found in them.
        without: photos and frames without a face.
        unreadable: names of the files that were skipped because they could not be read.
    """

    photos: int
    faces: int
    without: int
    unreadable: list[str]


def predict(settings: PredictSettings, names: Sequence[str]) -> Outcome:
    """Predict the keypoints of all faces in photos and videos, and write them to ``settings.out``.

    Args:
        settings: of conf/predict.yaml.
        names: files, folders, patterns or ``webcam``, as for `facekp.photos.reading.list_files`.

    Raises:
        UserError: a name matches no file, or the checkpoint, the detector or the output folder can't be used.
    """
    out = Path(settings.out)
    files = list_files(names, exclude=out)
    predictor = KeypointPredictor.from_checkpoint(
        settings.ckpt, settings.source, settings.device, decoder=settings.decoder
    )
    warn_of_drawn_faces(predictor.models)
    detector = build_face_detector(settings.detector)
    unreadable: list[str] = []
    with Progress(console=Console(stderr=True)) as progress:

        def skip(file: str, reason: str) -> None:
            unreadable.append(file)
            text = f"facekp: skipped: {file}: {reason}".encode(errors="backslashreplace").decode()
            progress.console.print(" ".join(text.split()), markup=False, highlight=False, soft_wrap=True)

        photos = _with_progress(_read_all(files, settings.frames, skip), progress, len(files))
        predictions = find_points(photos, predictor, detector, settings.refine, settings.batch)
        with PredictionWriter(out, predictor.keypoints, settings.draw) as writer:
            try:
                for photo, faces in predictions:
                    writer.write(photo, faces)
            except KeyboardInterrupt:
                log.warning("interrupted; the predictions so far are kept")
    return Outcome(writer.photos, writer.faces, writer.without, unreadable)


def _read_all(files: Sequence[str], frames: int | None, skip: Callable[[str, str], None]) -> Iterator[Photo]:
    """The photos of all files; ``skip`` is called with the name of a file that can't be read, and the reason."""
    for file in files:
        try:
            yield from read_photos(file, frames)
        except UnreadableImage as error:
            skip(file, str(error))


def _with_progress(photos: Iterator[Photo], progress: Progress, files: int) -> Iterator[Photo]:
    """The photos, while a progress bar shows how many of the files have been read."""
    bar, done = progress.add_task("photos", total=files), 0.0
    for photo in photos:
        progress.update(bar, completed=min(done + photo.progress, files))
        done += photo.progress == 1
        yield photo
    progress.update(bar, completed=files)
