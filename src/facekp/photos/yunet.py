"""YuNet, a face detector of 53,000 weights: reads its ONNX file, and finds boxes in colour photos with OpenCV.

The file in ``weights`` is face_detection_yunet_2023mar.onnx of the OpenCV Zoo, under the MIT licence beside it. The
method is: Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research, 2023.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facekp.core.errors import UserError
from facekp.core.opencv_log import quiet_opencv

WEIGHTS = Path(__file__).parent / "weights" / "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
MAX_MODEL_BYTES = 2**26  # bytes; YuNet's files have 0.1 to 0.3 MB, so a larger one is something else
STRIDES = (8, 16, 32)  # pixels between the cells of the three output maps
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}  # numbers per cell
SIDE = 64  # pixels of the image on which a model is tried
CANDIDATES = 5000  # boxes before overlapping ones are dropped; OpenCV's default


def load_yunet(path: Path | None, score: float, nms: float) -> Any:
    """A `cv2.FaceDetectorYN`; one object must not be used by two threads at a time.

    Args:
        path: an ONNX file; None: the one in this package.
        score: boxes of a lower score are dropped, 0 to 1.
        nms: of boxes that overlap by a larger fraction, the one with the lower score is dropped.

    Raises:
        UserError: the file is missing or damaged, or no model of this kind.
    """
    content = _shipped() if path is None else _given(path)
    try:
        with quiet_opencv():
            return cv2.FaceDetectorYN.create(
                "onnx", content, np.empty(0, np.uint8), (SIDE, SIDE), score, nms, CANDIDATES
            )
    except cv2.error as error:
        raise UserError(
            f"{path or WEIGHTS}: OpenCV {cv2.__version__} can't read this model ({error.err}); give "
            "another detector.model, or null for the one that facekp ships"
        ) from error


def _shipped() -> np.ndarray:
    """The content of the file in this package, checked.

    Raises:
        UserError: it is missing or damaged.
    """
    content = WEIGHTS.read_bytes() if WEIGHTS.is_file() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        state = "is damaged" if content else "is missing"
        raise UserError(f"{WEIGHTS}: {state}; install facekp again, or use detector=haar")
    return np.frombuffer(content, np.uint8)


def _given(path: Path) -> np.ndarray:
    """The content of a user's file, checked by a trial: OpenCV would read beyond the maps of another model.

    Raises:
        UserError: there is no such file, or it is no model of this kind.
    """
    if not path.is_file():
        raise UserError(f"detector.model={path}: no such file; give an ONNX file of YuNet, or null for the one shipped")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise UserError(
            f"detector.model={path}: is larger than {MAX_MODEL_BYTES >> 20} MiB, so it is not a YuNet model"
        )
    content = np.fromfile(path, np.uint8)
    try:
        with quiet_opencv():
            network = cv2.dnn.readNetFromONNX(content)
            network.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32))
            names = [f"{kind}_{stride}" for kind in OUTPUTS for stride in STRIDES]
            shapes = {name: network.forward(name).shape for name in names}
    except cv2.error as error:
        raise _no_yunet(path) from error
    cells = {stride: (SIDE // stride) ** 2 for stride in STRIDES}
    if shapes != {f"{kind}_{stride}": (1, cells[stride], OUTPUTS[kind]) for kind in OUTPUTS for stride in STRIDES}:
        raise _no_yunet(path)
    return content


def _no_yunet(path: Path) -> UserError:
    return UserError(
        f"detector.model={path}: is not an ONNX file of YuNet; give one with the outputs cls_8 to kps_32, such as "
        "face_detection_yunet_2023mar.onnx of the OpenCV Zoo"
    )
