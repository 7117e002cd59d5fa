"""Post-training calibration of a bundle: score probabilities, samples, INT8, sensitivity."""

from vtloc_runtime.system.telemetry import disable_telemetry

# Polygraphy and the quantizer import ONNX Runtime by themselves, here and in processes of theirs.
disable_telemetry()
