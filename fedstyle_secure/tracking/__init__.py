"""What a run found, in trackers of experiments: MLflow, TensorBoard, Weights & Biases."""
