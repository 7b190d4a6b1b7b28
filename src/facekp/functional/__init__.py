"""Pure tensor functions without settings or files: heatmaps, decoders, losses, warps and metrics."""
