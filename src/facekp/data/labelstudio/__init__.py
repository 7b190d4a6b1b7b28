"""Label Studio's JSON: what was drawn in each task, and the photo of a task."""
