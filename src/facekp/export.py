"""`python -m facekp.export ckpt=FILE out=FILE.onnx`: one graph from grey pixels to points, checked at once.

Inputs: ``images`` (N, 1, H, W), any N, grey levels 0..255; with ``source=all`` also ``source`` int64 (N,), an index
into the metadata's ``keypoints.sources``. Outputs: ``points`` float32 (N, K, 2) in pixels, ``confidence`` (N, K)
and, of a calibrated checkpoint, ``expected_error`` float32 (N, K) in pixels. Normalisation, views, mirror images and
decoding lie inside. Metadata: JSON under ``facekp`` (`describe`).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.models.export import export

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> dict[str, Any]:
    """Hydra's task: export and tell."""
    config = plain(cfg)
    figures = export(config)
    log.info("written: %s (%.1f MB)", config["out"], Path(config["out"]).stat().st_size / 1e6)
    return figures


if __name__ == "__main__":
    run_command("export", main)
