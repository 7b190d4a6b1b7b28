"""COCO's JSON of keypoints, as `facekp.data.readers.coco` reads it."""
