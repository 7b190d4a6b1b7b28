"""The summary of the page that compares runs, in sentences: the best run, and how far the runs can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from facekp.core.console import count
from facekp.functional.metrics import MAIN
from facekp.reporting.html.collect import PRUNED, UNFINISHED, Run, SkippedRun
from facekp.reporting.html.compare import Interval, Pairs


def headline(runs: Sequence[Run], bounds: Sequence[Interval | None]) -> list[str]:
    """The best run, and whether it is better than the mean face.

    Args:
        runs: of `read_runs`.
        bounds: of `facekp.reporting.html.compare.intervals`, the runs first.
    """
    best = runs[0]
    title = "Best run: " if len(runs) > 1 else ""
    interval = "" if bounds[0] is None else f" (95 % interval over images: {bounds[0][0]:.3f} to {bounds[0][1]:.3f})"
    lines = [f"{title}{best.name}, RMSE {best.metrics[MAIN]:.3f} px{interval}. {_against_mean_face(best)}"]
    worse = sum(map(is_useless, runs))
    if is_useless(best):
        lines.append(
            "The mean face predicts the same points for every image, so this network has not learnt to find points. "
            "Train longer, or change lr."
        )
    if len(runs) > 1 and worse:
        which = f"None of the {worse} runs is" if worse == len(runs) else f"{worse} of {len(runs)} runs are not"
        lines.append(f"{which} better than the mean face.")
    return lines


def is_useless(run: Run) -> bool:
    """Whether a run is known to be no better than the mean face."""
    return run.gain is not None and run.gain <= 0


def _against_mean_face(run: Run) -> str:
    """By how much a run is better or worse than the mean face."""
    if run.baseline is None or run.gain is None:
        return "The RMSE of the mean face is unknown: a scored point has no label in the training rows."
    difference = f"{abs(run.baseline - run.metrics[MAIN]):.3f} px ({abs(run.gain):.0%})"
    return f"That is {difference} {'better' if run.gain > 0 else 'worse'} than the mean face ({run.baseline:.3f} px)."


def summary(runs: Sequence[Run], pairs: Pairs, skipped: Sequence[SkippedRun]) -> list[str]:
    """The rest of the page in a few sentences.

    Args:
        runs: of `read_runs`.
        pairs: of `facekp.reporting.html.compare.differences`.
        skipped: folders that can't be shown.
    """
    lines = [*(_similar_runs(runs, pairs) if len(runs) > 1 else []), *_different_images(runs), *_incomplete_runs(runs)]
    if skipped:
        lines.append(f"{len(skipped)} folder{'s were' if len(skipped) > 1 else ' was'} skipped; the reasons are below.")
    return lines


def _similar_runs(runs: Sequence[Run], pairs: Pairs) -> list[str]:
    """The second run, and how many runs do not differ significantly from the best."""
    second = f"{runs[1].name}{'' if runs[1].is_complete else f' ({runs[1].state})'}"
    lines = [f"Second: {second}, RMSE {runs[1].metrics[MAIN]:.3f} px. {_is_different(runs, pairs)}"]
    complete = sum(run.is_complete for run in runs)
    others = complete if complete > 1 else len(runs)  # the finished runs come first
    similar = [i for i in range(1, others) if (0, i) in pairs and not pairs[0, i].is_significant]
    if len(similar) > 1:
        kind = "finished runs" if others < len(runs) else "runs"
        lines.append(f"{len(similar)} of the other {others - 1} {kind} do not differ significantly from the best run.")
    return lines


def _different_images(runs: Sequence[Run]) -> list[str]:
    """Why the RMSE of runs that were validated on different images can't be compared; empty: they can."""
    lines = []
    splits = {run.split for run in runs}
    if len(splits) > 1:
        lines.append(
            f"The runs were validated on {len(splits)} different sets of images, some of which are easier than "
            "others. So their order depends on the set too; compare runs of the same set."
        )
    sides = sorted({run.side for run in runs if run.side is not None})
    if len(sides) > 1:
        lines.append(
            f"The images have {' and '.join(map(str, sides))} pixels a side, so an error of a pixel is not the same in "
            "all runs. Compare their NME, which does not depend on the size."
        )
    return lines


def _incomplete_runs(runs: Sequence[Run]) -> list[str]:
    """How many runs were not trained to their end, and what that means for the page; empty: all were."""
    lines = []
    unfinished, pruned = (sum(run.state == state for run in runs) for state in (UNFINISHED, PRUNED))
    if unfinished:
        are = "is" if unfinished == 1 else "are"
        lines.append(f"{unfinished} of {count(len(runs), 'run')} {are} unfinished; the best epoch so far is shown.")
    if pruned:
        were = "was" if pruned == 1 else "were"
        lines.append(f"{pruned} of {count(len(runs), 'run')} {were} pruned by a search.")
    if 0 < unfinished + pruned < len(runs):
        lines.append("Finished runs come first; only they are in the means over seeds and folds.")
    return lines


def _is_different(runs: Sequence[Run], pairs: Pairs) -> str:
    """Whether the second run is worse than the best, on the images that both predicted."""
    best, second = runs[:2]
    pair = pairs.get((0, 1))
    if pair is None and not (len(best.images) and len(second.images)):
        return "The difference can't be tested, as a run has no predictions.csv."
    if pair is None and len(best.images.index.intersection(second.images.index)):
        return "The difference can't be tested, as the runs have only one image in common, or near-duplicates of one."
    if pair is None:
        return (
            "The difference can't be tested, as the two runs were validated on different images "
            f"({best.split}; {second.split})."
        )
    images = count(pair.images, "image")
    if pair.images < max(len(best.images), len(second.images)):
        images += f" that both runs predicted, of {len(best.images)} and {len(second.images)}"
    details = f"{-pair.value:+.3f} px, 95 % interval {-pair.high:+.3f} to {-pair.low:+.3f}, {images}"
    return f"The difference is {'' if pair.is_significant else 'not '}significant ({details})."
