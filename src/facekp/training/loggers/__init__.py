"""Loggers: W&B, and what Lightning's own loggers do not log by themselves. `facekp.training.observers` builds them."""
