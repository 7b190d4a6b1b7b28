"""`python -m facekp.app`: a page on this machine's own address that finds the points of the faces in a photo.

Drop a photo or take one with the webcam; the page shows the faces found, their points with confidences, the heatmap of
each keypoint and the time taken, and gives the points as CSV. It asks no other machine for anything, and gives no file
of this one out but what it wrote for the visitor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from facekp.config.command import plain, run_command
from facekp.core.errors import UserError
from facekp.models.predictor import KeypointPredictor
from facekp.photos.detectors import build_face_detector
from facekp.photos.web_app import CSS, PhotoHandler, build_page


def serve(config: dict[str, Any], block: bool = True) -> Any:
    """Serve the page on 127.0.0.1.

    Args:
        config: as conf/app.yaml composes it.
        block: until it is stopped (Ctrl-C).

    Raises:
        UserError: gradio is not installed, a checkpoint can't be read, or the port is taken.
    """
    paths = config["ckpt"] if isinstance(config["ckpt"], list) else [config["ckpt"]]
    answerer = PhotoHandler(
        {
            name: KeypointPredictor.from_checkpoint(path, config["source"], config["device"], decoder=config["decoder"])
            for name, path in _named(paths)
        },
        build_face_detector(config["detector"]),
        config["refine"],
        int(config["max_megapixels"] * 1e6),
    )
    page = build_page(answerer)
    try:
        page.launch(
            server_name="127.0.0.1",
            server_port=config["port"],
            share=False,
            ssr_mode=False,
            allowed_paths=[],
            max_file_size=int(config["max_megabytes"] * 1e6),
            prevent_thread_lock=not block,
            footer_links=[],
            enable_monitoring=False,
            css=CSS,
        )
    except OSError as error:
        raise UserError(f"port={config['port']}: can't be served on ({error}); choose another") from error
    return page


def _named(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Names that tell the checkpoints apart, without their folders where their own names do."""
    stems = [Path(path).stem for path in paths]
    return [(stem if stems.count(stem) == 1 else path, path) for stem, path in zip(stems, paths, strict=True)]


def main(cfg: DictConfig) -> None:
    """Hydra's task: serve until it is stopped."""
    serve(plain(cfg))


if __name__ == "__main__":
    run_command("app", main)
