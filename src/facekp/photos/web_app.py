"""`python -m facekp.app`: a page on this machine's own address that finds the points of the faces in a photo.

Drop a photo or take one with the webcam; the page shows the faces found, their points with confidences, the heatmap of
each keypoint and the time taken, and gives the points as CSV. It asks no other machine for anything, and gives no file
of this one out but what it wrote for the visitor.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from facekp.core.errors import UserError
from facekp.data.images import UnreadableImage, read_image
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import FaceDetector
from facekp.photos.drawing import draw
from facekp.photos.pipeline import Face, find_points
from facekp.photos.reading import Photo

MAP_SIDE = 192  # pixels of a heatmap on the page

CSS = ".gradio-container {max-width: 1200px !important; margin: 0 auto} #status {min-height: 1.5em}"

INTRO = "# Facial keypoints\nDrop a photo, or take one with the webcam. Nothing leaves this machine."


class PhotoHandler:
    """What the page calls: a photo's file in, pictures, tables and a line of text out.

    Args:
        predictors: by the names that the page shows.
        detector: finds faces.
        refine: as for `facekp.photos.pipeline.find_points`.
        most_pixels: larger photos are refused.
    """

    def __init__(
        self, predictors: dict[str, KeypointPredictor], detector: FaceDetector, refine: bool, most_pixels: int
    ) -> None:
        self.predictors, self.detector, self.refine, self.most_pixels = predictors, detector, refine, most_pixels

    def __call__(self, file: str | None, name: str) -> tuple[Any, list[tuple[np.ndarray, str]], Any, str | None, str]:
        """Find the points.

        Args:
            file: of the photo; None: none was given.
            name: of a predictor.

        Returns:
            the photo with the points drawn, a heatmap and its caption for each keypoint of the largest face, the
            points as a table, the CSV file's path, and what there is to say; Nones and empty where it is no good.
        """
        nothing: tuple[Any, list[tuple[np.ndarray, str]], Any, None] = (None, [], None, None)
        if file is None:
            return *nothing, "Give a photo first."
        try:
            photo = Photo("photo", read_image(file, self.most_pixels))
        except (UnidentifiedImageError, UnreadableImage) as error:
            why = str(error) if isinstance(error, UnreadableImage) else "it is no image of a kind known here"
            return *nothing, f"This photo can't be read: {why}."
        predictor = self.predictors[name]
        start = time.perf_counter()
        ((_, faces),) = find_points([photo], predictor, self.detector, self.refine)
        seconds = time.perf_counter() - start
        if not faces:
            return photo.image, [], None, None, f"No face was found ({seconds:.2f} s)."
        table = points_table(faces, predictor.keypoints.names)
        largest = max(faces, key=lambda face: face.crop.width)
        found = f"{len(faces)} face{'s' * (len(faces) > 1)} in {seconds:.2f} s"
        size = f"{photo.image.shape[1]} x {photo.image.shape[0]} pixels"
        picture = draw(photo, faces, predictor.keypoints)
        return picture, heatmaps(photo, largest, predictor), table, _as_file(table), f"{found} ({size})."

    def for_page(self, file: str | None, name: str) -> tuple[Any, ...]:
        """The same, with the button that gives the CSV file out as Gradio wants it."""
        import gradio as gr

        picture, maps, table, csv, words = self(file, name)
        return picture, maps, table, gr.DownloadButton(value=csv, interactive=csv is not None), words


def points_table(faces: Sequence[Face], names: Sequence[str]) -> pd.DataFrame:
    """A row a point: face, keypoint, x, y (pixels of the photo), confidence, expected error if known."""
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


def heatmaps(photo: Photo, face: Face, predictor: KeypointPredictor) -> list[tuple[np.ndarray, str]]:
    """The heatmap of every keypoint over a face's crop, uint8 (side, side, 3), with its caption."""
    crop = face.crop.cut(photo.grey)
    ground = cv2.cvtColor(cv2.resize(crop, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    shown = []
    for k, heatmap in enumerate(predictor.heatmaps(crop)):
        level = np.clip(heatmap / max(float(heatmap.max()), 1e-9), 0, 1)
        level = cv2.resize(level, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_LINEAR)[..., None]
        glow = cv2.cvtColor(cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        mixed = ((1 - 0.8 * level) * ground * 0.7 + 0.8 * level * glow).astype(np.uint8)
        shown.append((mixed, f"{predictor.keypoints.names[k].replace('_', ' ')}  {face.confidence[k]:.2f}"))
    return shown


def _as_file(table: pd.DataFrame) -> str:
    path = Path(tempfile.mkdtemp(prefix="facekp-"), "points.csv")  # Gradio copies it to where it may be fetched
    table.to_csv(path, index=False)
    return str(path)


def build_page(answerer: PhotoHandler) -> Any:
    """The Gradio page, not yet served.

    Raises:
        UserError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio as gr
    except ImportError as error:
        raise UserError("facekp.app needs gradio: pip install 'facekp[app]'") from error
    names = list(answerer.predictors)
    with gr.Blocks(title="facekp", analytics_enabled=False) as page:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column():
                # A path, so that a broken or vast photo is for this code to refuse, and not Gradio's to unpack.
                photo = gr.File(label="Photo", file_types=["image"], type="filepath", elem_id="photo")
                with gr.Accordion("Webcam", open=False):
                    webcam = gr.Image(sources=["webcam"], type="filepath", show_label=False, buttons=[])
                chosen = gr.Dropdown(names, value=names[0], label="Checkpoint", interactive=len(names) > 1)
                status = gr.Markdown(elem_id="status")
                csv = gr.DownloadButton("Download the points (CSV)", interactive=False, elem_id="csv")
            with gr.Column(scale=2):
                drawn = gr.Image(
                    label="Faces and points", interactive=False, elem_id="drawn", format="png", buttons=["fullscreen"]
                )
        maps = gr.Gallery(
            label="Heatmaps of the largest face, with confidences", columns=5, height="auto", buttons=[], elem_id="maps"
        )
        table = gr.Dataframe(
            headers=["face", "keypoint", "x", "y", "confidence"],
            label="Points, in pixels of the photo",
            interactive=False,
            buttons=[],
            elem_id="points",
        )
        outputs = [drawn, maps, table, csv, status]
        gr.on([photo.upload, chosen.change], answerer.for_page, [photo, chosen], outputs, api_visibility="private")
        webcam.change(answerer.for_page, [webcam, chosen], outputs, api_visibility="private")
    return page
