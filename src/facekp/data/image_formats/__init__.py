"""Kinds of image files that need care: TIFF, and images with more than 8 bits. `facekp.data.images` reads all kinds."""
