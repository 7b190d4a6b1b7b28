"""The web page of `facekp app`: give a photo, see its faces, keypoints, heatmaps and confidences, download the points.

The page is served on 127.0.0.1 only. It sends no requests to other machines, and the only files it serves are those
that it wrote for the visitor.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import KeypointPredictor
from facekp.models.training_data import warn_of_drawn_faces
from facekp.photos.detectors import FaceDetector, build_face_detector
from facekp.photos.drawing import draw
from facekp.photos.pipeline import Face, find_points
from facekp.photos.reading import Photo
from facekp.photos.settings import AppSettings

HEATMAP_SIDE = 192  # pixels of a heatmap on the page

CSS = ".gradio-container {max-width: 1200px !important; margin: 0 auto} #status {min-height: 1.5em}"

INTRO = "# Facial keypoints\nUpload a photo or take one with the webcam. Photos never leave this machine."


class PageContent(NamedTuple):
    """What the page shows for a photo.

    Attributes:
        picture: the photo with the points drawn, uint8 (H, W, 3); None if there is no photo.
        heatmaps: of the largest face, each with its caption.
        table: one row per keypoint; None without a face.
        csv: path of the table's file; None without a face.
        status: one line of text: the number of faces and the time, or what is wrong.
    """

    picture: np.ndarray | None
    heatmaps: list[tuple[np.ndarray, str]]
    table: pd.DataFrame | None
    csv: str | None
    status: str


class PhotoHandler:
    """Predicts the keypoints of an uploaded photo.

    Args:
        predictors: by the names that the page shows.
        detector: finds the faces.
        refine: as for `facekp.photos.pipeline.find_points`.
        max_pixels: larger photos are refused.
    """

    def __init__(
        self, predictors: dict[str, KeypointPredictor], detector: FaceDetector, refine: bool, max_pixels: int
    ) -> None:
        self.predictors, self.detector, self.refine, self.max_pixels = predictors, detector, refine, max_pixels

    @classmethod
    def from_settings(cls, settings: AppSettings) -> PhotoHandler:
        """Load the checkpoints and the detector.

        Raises:
            UserError: one of them can't be loaded.
        """
        paths = settings.ckpt if isinstance(settings.ckpt, list) else [settings.ckpt]
        predictors = {
            name: KeypointPredictor.from_checkpoint(path, settings.source, settings.device, decoder=settings.decoder)
            for name, path in _with_short_names(paths)
        }
        for predictor in predictors.values():
            warn_of_drawn_faces(predictor.models)
        max_pixels = int(settings.max_megapixels * 1e6)
        return cls(predictors, build_face_detector(settings.detector), settings.refine, max_pixels)

    def __call__(self, file: str | None, checkpoint: str) -> PageContent:
        """Find the faces of a photo and predict their keypoints.

        Args:
            file: the photo's file; None: no photo was given.
            checkpoint: name of a predictor.
        """
        if file is None:
            return PageContent(None, [], None, None, "Upload a photo first.")
        try:
            photo = Photo("photo", read_image(file, self.max_pixels))
        except UnreadableImage as error:
            return PageContent(None, [], None, None, f"This photo can't be read: {error}.")
        except UnidentifiedImageError:
            return PageContent(None, [], None, None, "This photo can't be read: the image format is not known.")
        predictor = self.predictors[checkpoint]
        start = time.perf_counter()
        ((_, faces),) = find_points([photo], predictor, self.detector, self.refine)
        seconds = time.perf_counter() - start
        if not faces:
            return PageContent(photo.image, [], None, None, f"No face was found ({seconds:.2f} s).")
        return _content(photo, faces, predictor, seconds)

    def for_page(self, file: str | None, checkpoint: str) -> tuple[Any, ...]:
        """The same for Gradio: the path of the CSV file becomes a download button."""
        import gradio as gr

        picture, maps, table, csv, status = self(file, checkpoint)
        return picture, maps, table, gr.DownloadButton(value=csv, interactive=csv is not None), status


def _content(photo: Photo, faces: Sequence[Face], predictor: KeypointPredictor, seconds: float) -> PageContent:
    """The page for a photo with at least one face."""
    table = points_table(faces, predictor.keypoints.names)
    largest = max(faces, key=lambda face: face.crop.width)
    height, width = photo.image.shape[:2]
    status = f"{len(faces)} face{'s' * (len(faces) > 1)} in {seconds:.2f} s ({width} x {height} pixels)."
    picture = draw(photo, faces, predictor.keypoints)
    return PageContent(picture, heatmap_pictures(photo, largest, predictor), table, _write_csv(table), status)


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


def heatmap_pictures(photo: Photo, face: Face, predictor: KeypointPredictor) -> list[tuple[np.ndarray, str]]:
    """The heatmap of every keypoint over the face's crop, uint8 (side, side, 3) RGB, with its caption."""
    crop = face.crop.cut(photo.grey)
    size = (HEATMAP_SIDE, HEATMAP_SIDE)
    ground = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    pictures = []
    for k, heatmap in enumerate(predictor.heatmaps(crop)):
        level = np.clip(heatmap / max(float(heatmap.max()), 1e-9), 0, 1)
        level = cv2.resize(level, size, interpolation=cv2.INTER_LINEAR)[..., None]
        colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
        glow = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
        picture = ((1 - 0.8 * level) * ground * 0.7 + 0.8 * level * glow).astype(np.uint8)
        pictures.append((picture, f"{predictor.keypoints.names[k].replace('_', ' ')}  {face.confidence[k]:.2f}"))
    return pictures


def _write_csv(table: pd.DataFrame) -> str:
    path = Path(tempfile.mkdtemp(prefix="facekp-"), "points.csv")  # Gradio copies it to its own served folder
    table.to_csv(path, index=False)
    return str(path)


def _with_short_names(paths: Sequence[str]) -> list[tuple[str, str]]:
    """A name for each checkpoint: its file name without folder and ending, or the path where that is not unique."""
    stems = [Path(path).stem for path in paths]
    return [(stem if stems.count(stem) == 1 else path, path) for stem, path in zip(stems, paths, strict=True)]


def serve(settings: AppSettings, block: bool = True) -> Any:
    """Serve the page on 127.0.0.1.

    Args:
        settings: of conf/app.yaml.
        block: return only when the server is stopped (Ctrl-C).

    Returns:
        the Gradio page; ``close()`` stops it.

    Raises:
        UserError: gradio is not installed, a checkpoint can't be read, or the port is in use.
    """
    page = build_page(PhotoHandler.from_settings(settings))
    try:
        page.launch(
            server_name="127.0.0.1",
            server_port=settings.port,
            share=False,
            ssr_mode=False,
            allowed_paths=[],
            max_file_size=int(settings.max_megabytes * 1e6),
            prevent_thread_lock=not block,
            footer_links=[],
            enable_monitoring=False,
            css=CSS,
        )
    except OSError as error:
        raise UserError(f"port={settings.port}: the page can't be served there ({error}); choose another") from error
    return page


def build_page(handler: PhotoHandler) -> Any:
    """The Gradio page, not yet served.

    Raises:
        UserError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # both are read when gradio is imported
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError("facekp.app needs gradio: pip install 'facekp[app]'") from error
    names = list(handler.predictors)
    with gr.Blocks(title="facekp", analytics_enabled=False) as page:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column():
                # As a file, not an image: facekp and not Gradio decodes it, so broken or huge photos are refused.
                photo = gr.File(label="Photo", file_types=["image"], type="filepath", elem_id="photo")
                with gr.Accordion("Webcam", open=False):
                    webcam = gr.Image(sources=["webcam"], type="filepath", show_label=False, buttons=[])
                chosen = gr.Dropdown(names, value=names[0], label="Checkpoint", interactive=len(names) > 1)
                status = gr.Markdown(elem_id="status")
                csv = gr.DownloadButton("Download the points (CSV)", interactive=False, elem_id="csv")
            with gr.Column(scale=2):
                picture = gr.Image(
                    label="Faces and keypoints",
                    interactive=False,
                    elem_id="drawn",
                    format="png",
                    buttons=["fullscreen"],
                )
        maps = gr.Gallery(
            label="Heatmaps of the largest face, with confidences", columns=5, height="auto", buttons=[], elem_id="maps"
        )
        table = gr.Dataframe(
            headers=["face", "keypoint", "x", "y", "confidence"],
            label="Keypoints, in pixels of the photo",
            interactive=False,
            buttons=[],
            elem_id="points",
        )
        outputs = [picture, maps, table, csv, status]
        gr.on([photo.upload, chosen.change], handler.for_page, [photo, chosen], outputs, api_visibility="private")
        webcam.change(handler.for_page, [webcam, chosen], outputs, api_visibility="private")
    return page
