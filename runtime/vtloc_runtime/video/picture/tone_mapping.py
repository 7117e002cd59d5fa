"""Tone mapping: high dynamic range to standard range.

Perceptual quantizer (SMPTE ST 2084) and hybrid log-gamma (ARIB STD-B67) pictures are turned into
light, reference white at 203 cd/m2 becomes white, what is brighter is rolled off smoothly, BT.2020
primaries become BT.709, and the result is coded for a display of gamma 2.4 (ITU-R BT.1886).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

_PERCEPTUAL_QUANTIZER = 16
_HYBRID_LOG_GAMMA = 18
_BT2020_PRIMARIES = 9
_REFERENCE_WHITE = 203.0
_LOG_GAMMA_PEAK = 1000.0
_LOG_GAMMA_SYSTEM = 1.2
_KNEE = 0.75
_DISPLAY_GAMMA = 2.4
_SMALLEST_LIGHT = 1e-6
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
_TO_BT709 = np.array([
    [1.6605, -0.5876, -0.0728],
    [-0.1246, 1.1329, -0.0083],
    [-0.0182, -0.1006, 1.1187],
])  # fmt: skip


class ToneMapper:
    """Maps pictures of high dynamic range to standard range."""

    def __init__(self) -> None:
        self._light: dict[int, NDArray[np.float32]] = {}

    def is_hdr(self, frame: av.VideoFrame) -> bool:
        """Whether a picture is coded for a high dynamic range."""
        return frame.color_trc in (_PERCEPTUAL_QUANTIZER, _HYBRID_LOG_GAMMA)

    def to_standard_range(
        self, planes: NDArray[np.generic], frame: av.VideoFrame
    ) -> NDArray[np.uint8]:
        """Map ``uint16 [3, H, W]``, coded as ``frame`` says, to ``uint8 [3, H, W]``."""
        light = self._table(frame.color_trc)[planes]
        if frame.color_trc == _HYBRID_LOG_GAMMA:
            luminance = np.tensordot(_LUMINANCE, light, axes=1)
            gain = np.maximum(luminance, _SMALLEST_LIGHT) ** (_LOG_GAMMA_SYSTEM - 1)
            light = light * gain * (_LOG_GAMMA_PEAK / _REFERENCE_WHITE)
        if frame.color_primaries == _BT2020_PRIMARIES:
            light = np.maximum(np.tensordot(_TO_BT709, light, axes=1), 0.0)
        brightest = np.maximum(light.max(axis=0), _SMALLEST_LIGHT)
        light = light * (_roll_off(brightest) / brightest)
        coded = np.clip(light, 0.0, 1.0) ** (1 / _DISPLAY_GAMMA)
        mapped: NDArray[np.uint8] = np.rint(coded * 255).astype(np.uint8)
        return mapped

    def _table(self, transfer: int) -> NDArray[np.float32]:
        """Light of every 16-bit code; PQ against reference white, log-gamma as scene light."""
        if transfer not in self._light:
            code = np.arange(65536) / 65535
            curve = _perceptual_light if transfer == _PERCEPTUAL_QUANTIZER else _log_gamma_light
            self._light[transfer] = curve(code).astype(np.float32)
        return self._light[transfer]


def _perceptual_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """ST 2084's transfer function, in units of reference white."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = code ** (1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) / _REFERENCE_WHITE


def _log_gamma_light(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """B67's inverse opto-electronic function: scene light from 0 to 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _roll_off(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear up to the knee, then towards 1 without reaching it."""
    over = (light - _KNEE) / (1 - _KNEE)
    return np.where(light <= _KNEE, light, _KNEE + (1 - _KNEE) * (1 - np.exp(-np.maximum(over, 0))))
