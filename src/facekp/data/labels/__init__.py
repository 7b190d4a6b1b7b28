"""What the readers of label files share: `LabelledFace`, names of points and photos, checks, text, JSON and XML."""
