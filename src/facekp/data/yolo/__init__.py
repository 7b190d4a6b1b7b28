"""Pose datasets of Ultralytics YOLO, as `facekp.data.readers.yolo` reads them."""
