"""From files to training batches. Everything after the readers works on a `FaceTable` (`facekp.data.table`).

- Label files: `readers` and `writers` (one module per format), `labels` (what they share), `competition`, `coco`,
  `labelstudio`, `yolo`.
- Photos: `images`, `image_formats`, `photo_survey`; `crops` makes a table of them, `face_crop` cuts one face.
- Drawn faces: `synthetic`.
- Tables: `table`, `table_checks`, `cache`, `sampling`, `chunks`, `digests`.
- Folds: `split`, `near_duplicates`.
- Batches: `datamodule`, `augment`, `transforms`, `corruptions`.
- Noise and mistakes in labels: `label_quality`.
- The commands `inspect` and `convert`: `label_file`, `label_report`, `label_commands`.
"""
