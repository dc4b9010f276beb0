"""Records in other programs: TensorBoard, Weights & Biases, MLflow, Trackio, CSV. They are read; nothing changes them.

The horizontal axis is simulated seconds. What was written is remembered beside what a tracker keeps, so that no point
is written twice: not by a second export, nor by a run that is tracked, interrupted and resumed.
"""
