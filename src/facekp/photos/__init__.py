"""Photos, videos and the webcam: faces are found, cropped, predicted, followed and drawn.

- Reading: `files`, `reading`, `frames`.
- Finding and predicting: `detectors`, `yunet`, `pipeline`, `second_look`, `single` (`facekp.find_points`).
- Videos: `video`, `tracking`, `smoothing`.
- Writing: `output`, `drawing`, `contact_sheet`, `drawn_video`, `coco`.
- The web page: `web_app`, `web_handler`, `web_server`, `web_results`, `live`.
- Benchmarks: `detection_benchmark`, `photo_benchmark`.
"""
