"""`python -m facekp.scenes`: faces pasted into larger scenes, to see what finding and cropping them anew costs.

A face comes in, a scene and the face's place in it go out (`paste`); `measure_detection` compares what `facekp.predict`
answers for the scenes with what the network answers for the images themselves.
"""

from __future__ import annotations

from omegaconf import DictConfig
from rich.table import Table

from facekp.config.command import plain, run_command
from facekp.core.console import show
from facekp.data.readers.registry import read_table
from facekp.models.ensemble import BATCH, load_models
from facekp.models.predictor import KeypointPredictor
from facekp.models.scoring import unseen_rows
from facekp.photos.detection_benchmark import DetectionResult, measure_detection, pick
from facekp.photos.detectors import build_face_detector


def main(cfg: DictConfig) -> list[tuple[str, float, DetectionResult]]:
    """Hydra's task: paste faces that trained no checkpoint, for each source and size, and show how they came back."""
    config = plain(cfg)
    trained = load_models(config["ckpt"], config["decoder"])
    keypoints = trained[0].model.keypoints
    table = read_table(config["data"], keypoints)
    held_out = table.take(unseen_rows(trained, table))
    detector = build_face_detector(config["detector"])
    lines = []
    for s, source in enumerate(keypoints.source_names):
        part = pick(held_out, s, config["faces"])
        predictor = KeypointPredictor(trained, source, "cpu", BATCH)
        for scale in config["scales"] if len(part) else []:
            lines.append((source, scale, measure_detection(part, predictor, detector, scale, config["refine"])))
    shown = Table(title="median distance from the label, pixels of the face's own image; of the faces found")
    for heading in ("source", "size", "faces", "missed", "extra", "itself", "in scenes", "times"):
        shown.add_column(heading)
    for source, scale, found in lines:
        counts = (f"{found.faces}", f"{found.missed}", f"{found.extra}")
        errors = (f"{found.direct:.3f}", f"{found.pasted:.3f}", f"{found.pasted / found.direct:.2f}")
        shown.add_row(source, f"{scale:g}", *counts, *errors)
    show(shown)
    return lines


if __name__ == "__main__":
    run_command("detection_benchmark", main)
