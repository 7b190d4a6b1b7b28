"""The work of `facekp predict`: everything that is named is read, predicted and written to the output folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facekp.core.console import ProgressDisplay, count, progress
from facekp.core.errors import CannotWrite
from facekp.core.signals import Stopped
from facekp.data.image_formats.grey_levels import Scales
from facekp.data.images import UnreadableImage
from facekp.data.photo_survey import survey_photos
from facekp.models.mean_face import report_mean_face
from facekp.models.predictor import KeypointPredictor
from facekp.models.training_data import warn_of_drawn_faces
from facekp.photos.detectors import build_face_detector
from facekp.photos.files import WEBCAM, list_files
from facekp.photos.output import PredictionWriter
from facekp.photos.reading import DamagedVideo, MissingCamera, Photo, read_photos
from facekp.photos.settings import PredictSettings
from facekp.photos.tracking import FaceTracker
from facekp.photos.video import predict_stream


@dataclass(frozen=True)
class Outcome:
    """How many photos and faces a run of ``facekp.predict`` has read and found.

    Attributes:
        photos: photos and frames that were read.
        frames: frames of videos among them.
        faces: faces that were found in them.
        without: photos and frames without a face.
        not_finite: predicted points that are NaN or infinite.
        unreadable: names of the files that were skipped because they could not be read.
        damaged: names of the videos in which some frames could not be read.
        stopped: what ended the prediction before the last file: a signal, a full disk or another error.
        files: number of files that were named.
        dropped: boxes of the detector that were dropped, because their points are too unsure to be a face.
        undrawn: names of the videos that could not be drawn.
    """

    photos: int
    frames: int
    faces: int
    without: int
    not_finite: int
    unreadable: list[str]
    damaged: list[str]
    stopped: BaseException | None = None
    files: int = 0
    dropped: int = 0
    undrawn: list[str] = field(default_factory=list)

    def progress(self) -> str:
        """How far a prediction came that was stopped."""
        return f"stopped: the tables hold {self._searched()}; {count(self.files, 'file was', 'files were')} to be read"

    def summary(self) -> str:
        """How many faces were found, and in what; how many boxes were dropped, if any were."""
        dropped = f"; {count(self.dropped, 'box was', 'boxes were')} dropped (min_confidence)" if self.dropped else ""
        return f"{count(self.faces, 'face')} in {self._searched()}, {self.without} without a face{dropped}"

    def _searched(self) -> str:
        parts = [(self.photos - self.frames, "photo"), (self.frames, "frame")]
        return " and ".join(count(number, noun) for number, noun in parts if number) or count(0, "photo")

    def problems(self) -> list[str]:
        """What went wrong, a line each."""
        lines = (
            (len(self.unreadable), "file", "could not be read"),
            (len(self.damaged), "video", "could be read in part only"),
            (len(self.undrawn), "video", "could not be drawn"),
            (self.not_finite, "predicted point", "not finite: null in points.json, empty in points.csv"),
        )
        return [f"{count(number, noun)} {what}" for number, noun, what in lines if number]


def predict(settings: PredictSettings, names: Sequence[str]) -> Outcome:
    """Predict the keypoints of all faces in photos and videos, and write them to ``settings.out``.

    Args:
        settings: of conf/predict.yaml.
        names: files, folders, patterns or ``webcam``, as for `facekp.photos.files.list_files`.

    Returns:
        the counts. If a signal, a full disk or another error ended the prediction, ``stopped`` is what did, and the
        tables hold the photos that were predicted before.

    Raises:
        UserError: a name matches no file, the checkpoint, the detector or the output folder can't be used, or the
            disk is full before the first photo. So does any other error before it.
        KeyboardInterrupt, Stopped: a signal came before the first photo.
    """
    stopped: BaseException | None = None
    out = Path(str(settings.out))
    files = list_files(names, exclude=out)
    predictor = KeypointPredictor.from_checkpoint(
        settings.ckpt,
        settings.source,
        settings.device,
        decoder=settings.decoder,
        views=settings.views,
        engine=settings.engine,
    )
    warn_of_drawn_faces(predictor.models)
    detector = build_face_detector(settings.detector)
    look = (settings.detect_every, settings.smooth, settings.refine, settings.min_confidence)
    tracker = FaceTracker(predictor, detector, *look)
    scales = survey_photos(progress([file for file in files if file != WEBCAM], "looking at photos"), animations=True)
    with ProgressDisplay("predicting", len(files)) as display:
        reader = _Reader(files, settings.frames, scales, display)
        predictions = predict_stream(reader.photos(), tracker, settings.batch)
        with PredictionWriter(out, predictor.keypoints, settings.draw) as writer:
            try:
                for photo, faces in predictions:
                    writer.write(photo, faces)
            except (KeyboardInterrupt, Stopped, Exception) as error:  # hours of work may be in the tables
                if not writer.photos:
                    raise
                stopped = error
        try:
            writer.finish()
        except CannotWrite as error:
            stopped = stopped or error
    report_mean_face(writer.mean_face, writer.points)
    counts = (writer.photos, writer.frames, writer.faces, writer.without, writer.not_finite)
    problems = (reader.unreadable, reader.damaged, stopped)
    return Outcome(*counts, *problems, len(files), tracker.dropped.boxes, writer.undrawn)


@dataclass
class _Reader:
    """Reads files one after another, shows progress, and reports those that can't be read.

    Attributes:
        files: to be read.
        frames: as for `read_photos`.
        scales: as for `read_photos`.
        display: shows how many of the files have been read.
        unreadable: files that were skipped.
        damaged: videos in which some frames can't be read.
    """

    files: Sequence[str]
    frames: int | None
    scales: Scales
    display: ProgressDisplay
    unreadable: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def photos(self) -> Iterator[Photo]:
        """The photos and frames of all files."""
        for done, file in enumerate(self.files):
            try:
                for photo in read_photos(file, self.frames, self.scales):
                    self.display.update(done + photo.progress)
                    yield photo
            except DamagedVideo as error:
                self.damaged.append(file)
                _report(str(error))
            except (UnreadableImage, MissingCamera) as error:
                if isinstance(error, MissingCamera) and len(self.files) == 1:
                    raise
                self.unreadable.append(file)
                _report(f"skipped: {error}")
            self.display.update(done + 1)


def _report(text: str) -> None:
    """Print one line on stderr, above a progress bar if there is one."""
    line = " ".join(f"facekp: {text}".encode(errors="backslashreplace").decode().split())
    print(line, file=sys.stderr)
