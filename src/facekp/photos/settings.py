"""Settings of the commands that work on photos: `predict`, `app` and `detection_benchmark`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from facekp.config.command import CommandSettings
from facekp.core.settings import CheckpointPaths, FilePath, Fraction, NewPath, Positive, PositiveCount, Text
from facekp.data.readers.base import READERS, DataSettings
from facekp.models.settings import DecoderOverride, Engine, ViewsChoice
from facekp.photos.detectors import FACE_DETECTORS, FaceDetectorSettings
from facekp.photos.smoothing import SmoothingSettings


class PhotoCommandSettings(CommandSettings):
    """What the commands on photos have in common.

    Attributes:
        ckpt: checkpoint, or several.
        detector: finds the faces.
        views: ``one``: the face alone; ``all``: also the checkpoint's moved and scaled views.
        decoder: replaces single settings of the checkpoint's decoder.
        refine: predict a face again in a crop that suits it better.
        min_confidence: boxes whose points have a lower mean confidence are dropped; None: every box is kept.
    """

    ckpt: CheckpointPaths
    detector: Annotated[FaceDetectorSettings, FACE_DETECTORS.validator]
    views: ViewsChoice
    decoder: DecoderOverride
    refine: bool
    min_confidence: Fraction | None


class PredictSettings(PhotoCommandSettings):
    """``facekp predict``.

    Attributes:
        source: labelling convention of the predictions; None: the first one of the checkpoint.
        device: ``auto``, or of torch (`facekp.core.device.choose_device`).
        engine: what runs the network (`facekp.models.engine`).
        out: output folder; None: a new one below outputs/predict.
        overwrite: replace earlier predictions in ``out``.
        draw: also write photos and videos with the points drawn.
        batch: faces that are predicted together.
        frames: read only the first frames of a video or the webcam; None: all.
        detect_every: frames of a video from one search for faces to the next.
        smooth: filter of the points in videos; None: no filter.
    """

    source: Text | None
    device: Text
    engine: Engine
    out: NewPath | None
    overwrite: bool = False
    draw: bool
    batch: PositiveCount
    frames: PositiveCount | None
    detect_every: PositiveCount
    smooth: SmoothingSettings | None


class AppSettings(PhotoCommandSettings):
    """``facekp app``.

    Attributes:
        source: labelling convention of the predictions; None: the first one of the checkpoint.
        device: ``auto``, or of torch (`facekp.core.device.choose_device`).
        engine: what runs the network (`facekp.models.engine`).
        port: of 127.0.0.1.
        max_megabytes: largest upload.
        max_megapixels: largest photo, in millions of pixels.
    """

    source: Text | None
    device: Text
    engine: Engine
    port: Annotated[int, Field(ge=1, le=65535)]
    max_megabytes: Positive
    max_megapixels: Positive


class DetectionBenchmarkSettings(PhotoCommandSettings):
    """``facekp detection_benchmark``.

    Attributes:
        data: labelled faces.
        faces: number of faces per source.
        scales: sizes of the faces: pixels of the scene per pixel of the face's image.
        photos: folder of photos in which faces are counted instead (`facekp.photos.photo_benchmark`); None: scenes.
        angles: by which these photos are also turned, degrees.
        out: CSV file for the results; None: they are only shown.
        overwrite: replace the file if it exists.
    """

    data: Annotated[DataSettings, READERS.validator]
    faces: Annotated[int, Field(ge=0, le=100)]
    scales: list[Annotated[Positive, Field(le=50)]]  # a scene of 96 x 96 pixels has 9600 x 9600 then, 2 GB
    photos: FilePath | None
    angles: list[Annotated[int, Field(ge=-180, le=180)]]
    out: NewPath | None
    overwrite: bool
