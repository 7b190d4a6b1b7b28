"""The face detectors that search a photo: `yunet` and `haar`; `search` is what they share."""
