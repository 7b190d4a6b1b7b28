"""`facekp COMMAND …` is `python -m facekp.COMMAND …`."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "train": "train a network: facekp train optimizer=adam lr=5e-4",
    "evaluate": "score checkpoints on images that didn't train them: facekp evaluate ckpt=FILE",
    "submit": "answer the competition's test images: facekp submit ckpt=FILE out=submission.csv",
    "report": "one page that compares runs, or shows the data: facekp report outputs/…",
    "predict": "find the points of faces in photos, folders and videos: facekp predict photo.jpg …",
    "app": "a page in the browser that finds the points of faces: facekp app",
    "pack": "shrink a checkpoint to what answering needs: facekp pack ckpt=FILE out=FILE",
    "calibrate": "teach a checkpoint how far off its points are: facekp calibrate ckpt=FILE out=FILE",
    "export": "one checked graph from pixels to points: facekp export ckpt=FILE out=FILE.onnx",
    "ladder": "the starting system's four published steps, one after another",
    "ablation": "train rows that differ in one thing each, and tabulate them",
    "dashboard": "build a W&B workspace that compares the runs of a project",
    "scenes": "what finding and cropping costs, on faces pasted into larger scenes",
    "bench": "measure speed and memory as ratios in one run",
    "data.synthetic": "write synthetic faces in the competition's format: facekp data.synthetic out=DIR",
}


def main() -> None:
    """Run the module that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        sys.argv = [f"facekp {name}", *sys.argv[2:]]
        runpy.run_module(f"facekp.{name}", run_name="__main__", alter_sys=True)
        return
    lines = [f"  {command:15} {what}" for command, what in COMMANDS.items()]
    print("\n".join(["usage: facekp COMMAND [key=value …]", "", *lines]))
    if name not in ("-h", "--help", "help"):
        print(f"facekp: error: {name!r} is no command; choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
