"""Make a bundle smaller and honest about its confidence: samples, INT8, sensitivity, scores."""

from vtloc_runtime.system.telemetry import disable_telemetry

# Polygraphy and the quantizer import ONNX Runtime by themselves, here and in processes of theirs.
disable_telemetry()
