"""Callbacks: curves, checkpoints, averaged weights, validation results. `facekp.training.observers` builds them."""
