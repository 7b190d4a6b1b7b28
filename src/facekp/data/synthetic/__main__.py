"""Draws faces: a seed and a number of rows come in, a FaceTable in the mixture of the real data comes out.

Each face is a set of curves on a bulging surface (`Shape`), turned and placed (`Pose`), painted and photographed
(`Look`: greys, hair, light, blur, noise). The labelled points lie on that same surface, so they agree with the picture
by construction; what makes labels hard in reality is added on purpose: two labelling conventions, missing points,
noise, duplicates, a few wrong rows. No real image or label takes part; the mean face is the real one's, rounded.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.keypoints import Keypoints
from facekp.data.readers.competition import write_test, write_training
from facekp.data.synthetic.faces import draw_faces

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> Path:
    """Hydra's task: write training.csv, test.csv and IdLookupTable.csv, as the competition's folder holds them."""
    config = plain(cfg)
    keypoints = Keypoints.from_dict(config["keypoints"])
    folder, seed = Path(config["out"]), config["data"]["seed"]
    write_training(folder / "training.csv", draw_faces(config["data"]["rows"], seed, keypoints))
    test = draw_faces(config["test_rows"], seed + 1, keypoints)
    write_test(folder, replace(test, row=np.arange(1, len(test) + 1)), test.mask)
    log.info("written: %s (%d training rows, %d test rows)", folder, config["data"]["rows"], len(test))
    return folder


if __name__ == "__main__":
    run_command("synthetic", main)
