"""Augmentations of ``augment.transforms``; `base` has their registry. The built-in one is `facekp.data.augment`."""
