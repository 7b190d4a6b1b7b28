"""What every other package may use: errors, settings, registries, landmark schemes, files.

- Settings: `settings`, `registry`, `errors`.
- Faces: `keypoints` (landmark schemes), `crop` (the map between a photo and a crop), `channels`.
- Files: `files` (atomic writing), `outputs` (what may be replaced), `plain_files`, `untrusted`, `archive`, `csv_cells`.
- The process: `console`, `device`, `signals`, `opencv_log`.
"""
