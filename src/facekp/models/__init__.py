"""Networks that predict: `KeypointModel` (`keypoint_model`) is a network with its codec, decoder and calibration.

- Files: `checkpoint`, `packing`, `packaged`, `transfer`, `training_data`, `onnx_model`, `graph_cache`, `export`.
- Predicting: `predictor` (the Python interface), `ensemble`, `engine`, `views`, `prediction`, `input_images`.
- Judging: `scoring`, `robustness`, `calibration`, `calibration_fit`, `mean_face`, `label_shape`.
"""
