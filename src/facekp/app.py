"""`python -m facekp.app`: serves a web page on 127.0.0.1 that predicts the keypoints of the faces in a photo."""

from __future__ import annotations

from omegaconf import DictConfig

from facekp.config.command import read_settings, run_command


def main(cfg: DictConfig) -> None:
    """Hydra's task: serve until it is stopped."""
    import torch  # imported here: --help must not wait for it

    from facekp.photos.settings import AppSettings
    from facekp.photos.web_app import serve
    from facekp.runs.lookup import with_checkpoint_files

    torch.set_num_threads(max(torch.get_num_threads() - 1, 1))  # the live view's browser needs a core, too
    serve(with_checkpoint_files(read_settings(cfg, AppSettings)))


if __name__ == "__main__":
    run_command("app", main)
