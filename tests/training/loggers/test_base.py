"""metrics.json on one level."""

from facekp.training.loggers.base import flat_figures


def test_figures_of_the_baseline_get_a_prefix_and_curves_are_left_out():
    curve = {"pixels": [0.1, 0.2], "share": [0.5, 1.0]}
    figures = {"rmse": 1.5, "finished": True, "curve": curve, "mean_face": {"rmse": 3.0, "curve": curve}}
    assert flat_figures(figures) == {"rmse": 1.5, "finished": True, "mean_face/rmse": 3.0}
