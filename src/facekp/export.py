"""`python -m facekp.export ckpt=FILE out=FILE.onnx`: writes one graph from pixels to points, and checks it.

Inputs: ``images`` (N, 1, H, W), or in colour (N, 3, H, W), any N, levels 0..255; with ``source=all`` also ``source``
int64 (N,), an index into the metadata's ``keypoints.sources``. Outputs: ``points`` float32 (N, K, 2) in pixels,
``confidence`` (N, K) and, of a calibrated checkpoint, ``expected_error`` float32 (N, K) in pixels. Normalisation,
views, mirror images and decoding are part of the graph. Metadata: JSON under ``facekp``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from facekp.config.command import read_settings, run_command, warn_of_unused

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> dict[str, Any]:
    """Write the graph, and return its differences from the checkpoint."""
    # imported here: --help and mistakes in a key must answer within a second
    from facekp.core.outputs import output_file
    from facekp.models.command_settings import OF_TRAININGS, ExportSettings
    from facekp.models.export.run import export
    from facekp.runs.lookup import with_checkpoint_files

    settings = with_checkpoint_files(read_settings(cfg, ExportSettings))
    warn_of_unused(OF_TRAININGS, "the data are only faces that the graph is checked with")
    with output_file(settings.out, overwrite=settings.overwrite) as out:
        check = export(settings)
    log.info("written: %s (%.1f MB)", out, out.stat().st_size / 1e6)
    return check


if __name__ == "__main__":
    run_command("export", main)
