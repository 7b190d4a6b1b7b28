"""facekp trains, compares and ships heatmap networks that find facial keypoints in small grey images."""

__version__ = "0.1.0"
