"""Measures what trained weights gain on few faces: from scratch, and from a checkpoint of other points.

    python tools/transfer_benchmark.py --data data.dir=DIR                  # the competition's data
    python tools/transfer_benchmark.py --data data=synthetic data.rows=400 --faces 20 40 --steps 20 --scored 40

The competition's faces are taken as if they were somebody's: photos with five labelled points, in data=folder. Faces
are divided by groups of near-duplicates into three sets:

- scored faces, which no network learns from;
- the user's faces, of which each training gets the first 50, 100, 300 or 1000; a tenth of them chooses the epoch;
- all others, on which a checkpoint learns the ten points that the user does not label.

Every training takes the same number of steps. A training that has finished is not repeated when the command is given
again.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from facekp.config.location import CONF_DIR
from facekp.core.files import write_csv
from facekp.core.keypoints import Keypoints
from facekp.data.near_duplicates import face_hashes, known_faces
from facekp.data.readers.read import read_table
from facekp.data.split import inseparable_groups
from facekp.data.table import FaceTable
from facekp.models.checkpoint import load_checkpoint
from facekp.models.scoring import score_models
from facekp.runs.folder import RunFolder
from facekp.training.settings import TrainSettings
from facekp.training.setup import train

START = {"scratch": "from scratch", "transfer": "from the checkpoint"}
HELD_OUT = 10  # one of as many of the user's faces chooses the epoch
PAGE = "docs/how-to/initial_weights.md"


@dataclass(frozen=True)
class Sets:
    """The faces of each set.

    Attributes:
        scored: no network learns from them.
        users: of the user, in the order in which trainings take them.
        others: of the checkpoint.
    """

    scored: FaceTable
    users: FaceTable
    others: FaceTable


def settings_of(*overrides: str) -> TrainSettings:
    """The settings that a command line of `train` gives."""
    from hydra import compose, initialize_config_dir

    from facekp.training.run import read_train_settings

    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return read_train_settings(compose("train", overrides=list(overrides)))


def divide(table: FaceTable, scored: int, users: int) -> Sets:
    """Completely labelled faces of the first source, divided by groups of near-duplicates.

    Args:
        table: all faces.
        scored: how many faces are scored, at least.
        users: how many the user has, at least.
    """
    table = table.take(np.flatnonzero(table.mask.all(axis=1) & (table.source == 0)))
    groups = inseparable_groups(table)
    order = np.random.default_rng(0).permutation(np.unique(groups))
    rank = np.empty(len(table), dtype=int)
    rank[order] = np.arange(len(order))  # groups are named by a row
    rows = np.argsort(rank[groups], kind="stable")
    sizes = np.cumsum(np.unique(rank[groups], return_counts=True)[1])  # faces up to each group
    first, second = (int(sizes[np.searchsorted(sizes, count)]) for count in (scored, scored + users))
    return Sets(*(table.take(part) for part in np.split(rows, [first, second])))


def write_photos(folder: Path, table: FaceTable, names: Sequence[str]) -> None:
    """The faces as data=folder reads them, unchanged: a PNG and a box for each.

    Args:
        folder: to write to.
        table: the faces.
        names: the points that the user labels.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    height, width = table.size
    places = [table.keypoints.names.index(name) for name in names]
    rows = []
    for number, (image, points) in enumerate(zip(table.images[:], table.points[:, places], strict=True)):
        cv2.imwrite(str(folder / "photos" / f"{number:04d}.png"), image)
        rows.append([f"{number:04d}.png", *points.ravel().tolist(), 0, 0, width, height])
    columns = [f"{name}_{axis}" for name in names for axis in "xy"]
    boxes = ["box_x0", "box_y0", "box_x1", "box_y1"]
    write_csv(folder / "labels.csv", pd.DataFrame(rows, columns=["name", *columns, *boxes]))


def folder_data(folder: Path, size: int) -> list[str]:
    return ["data=folder", f"data.images={folder}/photos", f"data.labels={folder}/labels.csv", f"data.size={size}"]


def epochs_for(steps: int, faces: int, batch: int, folds: int) -> int:
    """Epochs that take about as many optimiser steps."""
    return max(round(steps / math.ceil(faces * (1 - 1 / folds) / batch)), 1)


def train_once(folder: Path, overrides: Sequence[str], faces: int, steps: int) -> Path:
    """The best checkpoint of a training; one that has finished is not repeated."""
    run = RunFolder(folder)
    if not (run.has_begun() and run.is_finished()):
        settings = settings_of(*overrides, "callbacks.progress=false", "callbacks.pictures=0", "logger=csv")
        epochs = epochs_for(steps, faces, settings.data.batch_size, settings.data.folds)
        train(settings.replaced(trainer=settings.trainer.replaced(max_epochs=epochs)), folder)
    return run.best_checkpoint


def score(checkpoint: Path, table: FaceTable) -> dict[str, float]:
    """RMSE and NME of a checkpoint on the scored faces, none of which it may know.

    Raises:
        SystemExit: the checkpoint learnt from a scored face.
    """
    loaded = load_checkpoint(checkpoint)
    if loaded.trained_on is None or known_faces(face_hashes(table), loaded.trained_on).any():
        sys.exit(f"{checkpoint}: may have learnt from scored faces; name another checkpoint")
    metrics = score_models([loaded], table, table).metrics
    return {"rmse": metrics["rmse"], "nme": metrics["nme"]}


def table_of(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the seeds: a row for each number of faces, as text."""
    rows = []
    for faces, of_faces in results.groupby("faces"):
        row: dict[str, str] = {"training faces": str(faces)}
        for metric, title, factor, digits in (("nme", "NME, %", 100, 2), ("rmse", "RMSE, px", 1, 3)):
            for start, label in START.items():
                values = factor * of_faces.loc[of_faces["start"] == start, metric]
                spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
                row[f"{label}: {title}"] = f"{values.mean():.{digits}f}{spread}"
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(arguments: argparse.Namespace) -> pd.DataFrame:
    """All trainings and their scores; trainings.csv grows with each."""
    out = Path(arguments.out).absolute()
    everything = settings_of(*arguments.data)
    five = settings_of("keypoints=celeba5").keypoints
    sets = divide(read_table(everything.data, everything.keypoints), arguments.scored, max(arguments.faces))
    counts = f"{len(sets.scored)} scored faces, {len(sets.users)} of the user, {len(sets.others)} others"
    print(counts, flush=True)
    size = sets.scored.size[0]
    for name, table in (("scored", sets.scored), ("others", sets.others)):
        names = five.names if name == "scored" else other_names(everything.keypoints, five)
        write_photos(out / name, table, names)
    scored = read_table(settings_of("keypoints=celeba5", *folder_data(out / "scored", size)).data, five)
    start = (
        Path(arguments.ckpt) if arguments.ckpt else pretrain(out, sets.others, everything.keypoints, five, arguments)
    )
    rows = []
    for faces in arguments.faces:
        write_photos(out / f"users_{faces}", sets.users.take(np.arange(faces)), five.names)
        data = ["keypoints=celeba5", *folder_data(out / f"users_{faces}", size), f"data.folds={HELD_OUT}"]
        for seed in range(arguments.seeds):
            for name in START:
                given = [f"init_from={start}"] if name == "transfer" else []
                overrides = [*arguments.train, *data, f"seed={seed}", *given]
                best = train_once(out / f"{faces}_{name}_{seed}", overrides, faces, arguments.steps)
                rows.append({"faces": faces, "seed": seed, "start": name, **score(best, scored)})
                write_csv(out / "trainings.csv", pd.DataFrame(rows))
                print(rows[-1], flush=True)
    results = pd.DataFrame(rows)
    results.attrs["sets"] = counts
    return results


def other_names(scheme: Keypoints, five: Keypoints) -> list[str]:
    """The points that the user does not label."""
    return [name for name in scheme.names if name not in five.names]


def pretrain(out: Path, others: FaceTable, scheme: Keypoints, five: Keypoints, arguments: argparse.Namespace) -> Path:
    """The checkpoint of the other points, from the other faces."""
    names = other_names(scheme, five)
    pairs = [f"[{left},{right}]" for left, right in scheme.pairs if {left, right} <= set(names)]
    keypoints = [
        "keypoints=celeba5", "keypoints.name=others", f"keypoints.names=[{','.join(names)}]",
        f"keypoints.pairs=[{','.join(pairs)}]", "keypoints.lines=[]", "keypoints.normaliser=null",
    ]  # fmt: skip
    data = folder_data(out / "others", others.size[0])
    return train_once(out / "checkpoint", [*arguments.train, *keypoints, *data], len(others), arguments.pretrain_steps)


def record(table: str, sets: str) -> None:
    """Record the table as the figure initial_weights, and write the pages that show it."""
    import figures  # beside this file

    command = shlex.join(["python", "tools/transfer_benchmark.py", *sys.argv[1:]])
    entry = {"date": f"{date.today()}", "revision": figures.revision(), "data": sets, "commands": [command]}
    everything = {
        **figures.json.loads(figures.RECORD.read_text()),
        "initial_weights": {**entry, "texts": {"table": table}},
    }
    figures.RECORD.write_text(figures.json.dumps(dict(sorted(everything.items())), indent=1, ensure_ascii=False) + "\n")
    for page in figures.pages():
        page.write_text(figures.render(page.read_text(), everything))


def main() -> None:
    """Measure, print the table, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["data=kaggle"], help="where the faces come from")
    parser.add_argument("--train", nargs="+", default=["experiment=cpu", "lr=8e-3"], help="settings of all trainings")
    parser.add_argument("--faces", nargs="+", type=int, default=[50, 100, 300, 1000], help="how many the user labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of each training")
    parser.add_argument("--pretrain-steps", type=int, default=900, help="optimiser steps of the checkpoint")
    parser.add_argument("--scored", type=int, default=300, help="faces that are scored")
    parser.add_argument("--ckpt", help="a checkpoint that never saw the scored faces, instead of training one")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument("--out", default="outputs/transfer")
    parser.add_argument("--record", action="store_true", help=f"write the table into docs/figures.json and {PAGE}")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = measure(arguments)
    table = table_of(results)
    write_csv(Path(arguments.out) / "results.csv", table)
    print(f"<!-- figure: initial_weights.table -->\n\n{markdown(table)}\n\n<!-- /figure -->")
    if arguments.record:
        record(markdown(table), f"{results.attrs['sets']}, dense ones with all points")


if __name__ == "__main__":
    main()
