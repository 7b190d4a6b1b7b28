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

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress

from facekp.config.command import plain, run_command, split_arguments
from facekp.data.images import UnreadableImage
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import build_face_detector
from facekp.photos.output import PredictionWriter
from facekp.photos.pipeline import find_points
from facekp.photos.reading import Photo, read, sources

log = logging.getLogger(__name__)


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
        names: as `facekp.photos.reading.sources` takes them.

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
        with PredictionWriter(out, predictor.keypoints, config["draw"]) as writer:
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
        except UnreadableImage as error:
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
    config = plain(cfg)
    outcome = predict(config, names)
    log.info("%d faces in %d photos or frames, %d without a face", outcome.faces, outcome.photos, outcome.without)
    log.info("written: %s", config["out"])
    if outcome.broken:
        log.error("%d of the files could not be read", len(outcome.broken))
        sys.exit(1)
    return outcome


if __name__ == "__main__":
    NAMES, sys.argv[1:] = split_arguments(sys.argv[1:])
    run_command("predict", partial(main, names=NAMES))
