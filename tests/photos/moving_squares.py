"""Videos in which faces are bright squares, and a detector and a predictor that know nothing else."""

from types import SimpleNamespace

import cv2
import numpy as np

from facekp.models.prediction import Prediction
from facekp.photos.reading import Photo

HEIGHT, WIDTH, RATE = 240, 320, 25.0
SIDE = 40  # of a square, pixels
CORNERS = np.array([[24.0, 24.0], [71.0, 24.0], [71.0, 71.0], [24.0, 71.0]])  # in a crop twice as wide as the square


def scene(*centres, ground=0):
    """A picture with squares around these centres; the ground has a pattern that ``ground`` chooses."""
    pattern = np.random.default_rng(ground).uniform(0, 190, (12, 16)).astype(np.float32)
    image = cv2.resize(pattern, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 190).astype(np.uint8)
    for x, y in centres:
        half = SIDE // 2
        image[max(y - half, 0) : max(y + half, 0), max(x - half, 0) : max(x + half, 0)] = 255
    return image


def frame(number, image, file="clip.mp4"):
    return Photo(file, np.repeat(image[..., None], 3, axis=2), number, RATE, 0.5)


class SquareDetector:
    """Finds the squares, and counts how often it is asked."""

    margin = 2.0

    def __init__(self):
        self.calls = 0

    def find(self, image):
        self.calls += 1
        grey = image if image.ndim == 2 else image.max(axis=2)
        _, _, found, _ = cv2.connectedComponentsWithStats((grey > 200).astype(np.uint8))
        return np.array([(x - 0.5, y - 0.5, x + w - 0.5, y + h - 0.5) for x, y, w, h, _ in found[1:]]).reshape(-1, 4)


class SquarePredictor:
    """Predicts the corners of the square in a crop; confidence is 0 in a crop without it."""

    size, channels, mean_face, keypoints = (96, 96), 1, CORNERS, SimpleNamespace(names=("a", "b", "c", "d"))

    def predict(self, images):
        points, confidence = [], []
        for image in images:
            y, x = np.nonzero(image > 200)
            seen = len(x) > 500
            low_x, high_x, low_y, high_y = (x.min(), x.max(), y.min(), y.max()) if seen else (24, 71, 24, 71)
            points.append([[low_x, low_y], [high_x, low_y], [high_x, high_y], [low_x, high_y]])
            confidence.append([float(seen)] * 4)
        return Prediction(np.array(points, np.float32), np.array(confidence, np.float32), None, None)

    def is_mean_face(self, points):
        return (points == CORNERS).all(axis=-1)
