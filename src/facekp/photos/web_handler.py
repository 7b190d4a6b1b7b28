"""What the web page computes: a photo comes in, its faces, keypoints, heatmaps and confidences go out as HTML.

Gradio calls the methods of `PhotoHandler`; `facekp.photos.web_app` builds the page and serves it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from facekp.core.channels import to_colour
from facekp.core.console import count
from facekp.core.errors import UserError
from facekp.core.keypoints import Keypoints
from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import KeypointPredictor
from facekp.models.training_data import warn_of_drawn_faces
from facekp.photos.detectors import FaceDetector, build_face_detector
from facekp.photos.drawing import draw, draw_number
from facekp.photos.pipeline import Face, predict_photos
from facekp.photos.reading import Photo
from facekp.photos.settings import AppSettings
from facekp.photos.web_results import csv_html, heatmaps_html, picture_html, table_html

HEATMAP_SIDE = 192  # pixels of a heatmap on the page
COLUMNS = ["face", "keypoint", "x", "y", "confidence"]
ENLARGED_SIDE = 1600  # pixels of the longer side to which smaller photos are enlarged in the picture
MAX_ENLARGEMENT = 3  # times
EMPTY_STATUS = "Upload a photo."


class PageContent(NamedTuple):
    """What the page shows for a photo.

    Attributes:
        picture: the photo with the points, circles of their expected errors and the numbers of the faces, uint8
            (H, W, 3); None if there is no photo.
        faces: all faces; their numbers are their positions.
        table: one row per keypoint; no rows without a face.
        status: one line of text: the number of faces and the time, or what is wrong.
    """

    picture: np.ndarray | None
    faces: list[Face]
    table: pd.DataFrame
    status: str

    @classmethod
    def without_faces(cls, status: str, picture: np.ndarray | None = None) -> PageContent:
        """A page with only a status and perhaps a photo."""
        return cls(picture, [], pd.DataFrame(columns=COLUMNS), status)

    @property
    def largest(self) -> int | None:
        """The number of the largest face; None without a face."""
        return max(range(len(self.faces)), key=lambda i: self.faces[i].crop.width, default=None)


class VisitorState(NamedTuple):
    """What is kept in memory for a visitor, so that another checkpoint or face can be chosen.

    Attributes:
        photo: of `PhotoHandler.read`; None: no photo was given.
        faces: found in it.
    """

    photo: np.ndarray | str | None = None
    faces: Sequence[Face] = ()


class PhotoHandler:
    """Predicts the keypoints of an uploaded photo.

    Args:
        predictors: by the names that the page shows.
        detector: finds the faces.
        refine, min_confidence: as for `facekp.photos.pipeline.predict_photos`.
        max_pixels: larger photos are refused.
    """

    def __init__(
        self,
        predictors: dict[str, KeypointPredictor],
        detector: FaceDetector,
        refine: bool,
        max_pixels: int,
        min_confidence: float | None = None,
    ) -> None:
        self.predictors, self.detector, self.refine, self.max_pixels = predictors, detector, refine, max_pixels
        self.min_confidence = min_confidence

    @classmethod
    def from_settings(cls, settings: AppSettings) -> PhotoHandler:
        """Load the checkpoints and the detector.

        Raises:
            UserError: one of them can't be loaded.
        """
        paths = settings.ckpt if isinstance(settings.ckpt, list) else [settings.ckpt]
        predictors = {
            name: KeypointPredictor.from_checkpoint(
                path,
                settings.source,
                settings.device,
                decoder=settings.decoder,
                views=settings.views,
                engine=settings.engine,
            )
            for name, path in _with_short_names(paths)
        }
        for predictor in predictors.values():
            warn_of_drawn_faces(predictor.models)
        max_pixels = int(settings.max_megapixels * 1e6)
        detector = build_face_detector(settings.detector)
        return cls(predictors, detector, settings.refine, max_pixels, settings.min_confidence)

    def read(self, file: str) -> np.ndarray | str:
        """Read an uploaded photo; a text with the reason if it can't be read."""
        if not os.path.isfile(file):
            return "This photo can't be read: its upload was deleted. Upload it again."
        try:
            return read_image(file, self.max_pixels)
        except UnreadableImage as error:
            return f"This photo can't be read: {error}."
        except UnidentifiedImageError:
            return "This photo can't be read: it is damaged, or in an unknown format. Upload it as PNG or JPEG."

    def __call__(self, photo: np.ndarray | str | None, checkpoint: str) -> PageContent:
        """Find the faces of a photo and predict their keypoints.

        Args:
            photo: of `read`; None: no photo was given.
            checkpoint: name of a predictor.
        """
        if photo is None or isinstance(photo, str):
            return PageContent.without_faces(photo or EMPTY_STATUS)
        predictor = self.predictors[checkpoint]
        start = time.perf_counter()
        photos = [Photo("photo", photo)]
        ((read, faces),) = predict_photos(
            photos, predictor, self.detector, self.refine, min_confidence=self.min_confidence
        )
        seconds = time.perf_counter() - start
        if not faces:
            return PageContent.without_faces(f"No face was found ({seconds:.2f} s).", photo)
        return _content(read, faces, predictor, seconds)

    # What the page calls; all but `heatmaps` return what is kept, the menu of faces, and what is shown.

    def upload(self, file: str | None, checkpoint: str) -> tuple[Any, ...]:
        """Read a photo, delete its file, and predict."""
        try:
            photo = None if file is None else self.read(file)
        finally:
            delete_upload(file)
        return self.again(VisitorState(photo), checkpoint)

    def again(self, kept: VisitorState, checkpoint: str) -> tuple[Any, ...]:
        """Predict a photo that was read before, and show the heatmaps of the largest face."""
        content = self(kept.photo, checkpoint)
        kept = VisitorState(kept.photo, content.faces)
        shown = [csv_html(content.table), picture_html(content.picture), table_html(content.table), content.status]
        return kept, _face_menu(content), self.heatmaps(kept, checkpoint, content.largest), *shown

    def heatmaps(self, kept: VisitorState, checkpoint: str, number: int | None) -> str:
        """The heatmaps of the face with that number; None: empty ones."""
        predictor = self.predictors[checkpoint]
        names = predictor.keypoints.names
        if number is None or number >= len(kept.faces) or not isinstance(kept.photo, np.ndarray):
            return heatmaps_html("Heatmaps", names, [], [])
        if not predictor.has_heatmaps:
            return heatmaps_html("Heatmaps: exported files have none", names, [], [])
        face = kept.faces[number]
        pictures = heatmap_pictures(Photo("photo", kept.photo), face, predictor)
        return heatmaps_html(f"Heatmaps of face {number}", names, pictures, face.confidence.tolist())

    def clear(self, checkpoint: str) -> tuple[Any, ...]:
        """Forget the photo."""
        return self.again(VisitorState(), checkpoint)


def _face_menu(content: PageContent) -> Any:
    """The menu of the faces whose heatmaps can be shown; the largest one is chosen."""
    choices = [
        (f"Face {i} (the largest)" if i == content.largest else f"Face {i}", i) for i in range(len(content.faces))
    ]
    return import_gradio().update(choices=choices, value=content.largest, interactive=len(choices) > 1)


def delete_upload(file: str | None) -> None:
    """Delete a file that Gradio stored, its folder, and the empty files that Gradio leaves beside it."""
    if file is None:
        return
    path = Path(file)
    path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty: a photo with the same content is being read
        path.parent.rmdir()
    for left in path.parent.parent.glob("tmp*"):
        if left.is_file() and left.stat().st_size == 0:
            left.unlink(missing_ok=True)


def _content(photo: Photo, faces: list[Face], predictor: KeypointPredictor, seconds: float) -> PageContent:
    """The page for a photo with at least one face."""
    height, width = photo.image.shape[:2]
    return PageContent(
        picture=_picture(photo, faces, predictor.keypoints),
        faces=faces,
        table=points_table(faces, predictor.keypoints.names),
        status=f"{count(len(faces), 'face')} in {seconds:.2f} s ({width} x {height} pixels).",
    )


def _picture(photo: Photo, faces: Sequence[Face], keypoints: Keypoints) -> np.ndarray:
    """The photo with its faces, expected errors and numbers; small photos are enlarged, so that circles can be seen."""
    scale = float(np.clip(ENLARGED_SIDE / max(photo.image.shape[:2]), 1, MAX_ENLARGEMENT))
    image = cv2.resize(photo.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    picture = draw(replace(photo, image=image), faces, keypoints, scale, errors=True)
    for i, face in enumerate(faces):
        draw_number(picture, face, i, scale)
    return picture


def points_table(faces: Sequence[Face], names: Sequence[str]) -> pd.DataFrame:
    """One row per keypoint: face, keypoint, x, y (pixels of the photo), confidence, and expected_error if known."""
    rows = []
    for i, face in enumerate(faces):
        for k, name in enumerate(names):
            x, y = face.points[k].tolist()
            row = {"face": i, "keypoint": name, "x": round(x, 2), "y": round(y, 2)}
            row["confidence"] = round(float(face.confidence[k]), 3)
            if face.expected_error is not None:
                row["expected_error"] = round(float(face.expected_error[k]), 2)
            rows.append(row)
    return pd.DataFrame(rows)


def heatmap_pictures(photo: Photo, face: Face, predictor: KeypointPredictor) -> list[np.ndarray]:
    """The heatmap of every keypoint over the face's crop, uint8 (side, side, 3) RGB."""
    crop = face.crop.cut(photo.levels(predictor.channels))
    size = (HEATMAP_SIDE, HEATMAP_SIDE)
    ground = to_colour(cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC))
    pictures = []
    for heatmap in predictor.heatmaps(crop):
        level = np.clip(heatmap / max(float(heatmap.max()), 1e-9), 0, 1)
        level = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)[..., None]
        colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        glow = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
        pictures.append(((1 - 0.8 * level) * ground * 0.7 + 0.8 * level * glow).astype(np.uint8))
    return pictures


def _with_short_names(paths: Sequence[str]) -> list[tuple[str, str]]:
    """A name for each checkpoint: its file name without folder and ending, or the path where that is not unique."""
    stems = [Path(path).stem for path in paths]
    return [(stem if stems.count(stem) == 1 else path, path) for stem, path in zip(stems, paths, strict=True)]


def import_gradio() -> Any:
    """Import gradio, an optional dependency, with all that it sends to others switched off.

    Raises:
        UserError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # these are read when gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError("facekp.app needs gradio: pip install 'facekp[app]'") from error
    return gr
