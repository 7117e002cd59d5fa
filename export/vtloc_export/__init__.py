"""Turn a trained localizer and its encoders into a bundle, and a bundle into engines."""

from vtloc_runtime.system.telemetry import disable_telemetry

# Polygraphy and the quantizer import ONNX Runtime by themselves, here and in processes of theirs.
disable_telemetry()
