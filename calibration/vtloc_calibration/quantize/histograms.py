"""Histograms of activations on real samples, and the thresholds at which INT8 clips them.

INT8 is symmetric here: 255 steps between minus and plus a threshold. Three ways to choose it:

* ``minmax``: the largest value seen; nothing is clipped.
* ``percentile``: what all but a few of ten thousand values stay below.
* ``entropy``: where clipping and rounding together lose the least information.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vtloc_calibration.errors import CalibrationError
from vtloc_runtime.networks.onnxruntime_package import ERRORS_ONLY, import_onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from vtloc_runtime.networks.interface import Array

RangeMethod = Literal["minmax", "percentile", "entropy"]
RANGE_METHODS: tuple[RangeMethod, ...] = get_args(RangeMethod)

STEPS = 127
"""Steps of INT8 on either side of zero."""

_BINS = 2048
_PERCENTILE = 0.9999


class Histogram:
    """Counts of absolute values, in bins that widen as larger values come."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(_BINS, dtype=np.int64)
        self.limit = 0.0
        self.largest = 0.0
        self.lowest = 0.0

    def add(self, values: Array) -> None:
        """Count the values of an array of any shape; zeros, which have no effect, are left out.

        Raises:
            CalibrationError: A value is not finite.
        """
        size = np.abs(values.astype(np.float64, copy=False)).ravel()
        top = float(size.max(initial=0.0))
        if not np.isfinite(top):
            raise CalibrationError("an activation is not finite on the samples")
        if top == 0:
            return
        self.largest = max(self.largest, top)
        self.lowest = min(self.lowest, float(values.min(initial=0)))
        if self.limit == 0:
            self.limit = top
        while self.limit < top:
            # Twice as wide: two old bins make one new bin.
            self.counts = np.concatenate(
                [self.counts.reshape(-1, 2).sum(axis=1), np.zeros(_BINS // 2, dtype=np.int64)]
            )
            self.limit *= 2
        place = np.minimum((size[size > 0] * (_BINS / self.limit)).astype(np.int64), _BINS - 1)
        self.counts += np.bincount(place, minlength=_BINS)

    def threshold(self, method: RangeMethod) -> float:
        """Where to clip; 0 where only zeros were seen.

        Args:
            method: How to choose.
        """
        if self.largest == 0 or method == "minmax":
            return self.largest
        width = self.limit / _BINS
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            bins = int(np.searchsorted(share, _PERCENTILE)) + 1
        else:
            bins = _least_information_lost(self.counts)
        return min(bins * width, self.largest)


def _least_information_lost(counts: NDArray[np.int64]) -> int:
    """The number of bins to keep that keeps most information at 128 levels.

    The clipped tail is added to the last bin kept; the kept bins are averaged within each level;
    the Kullback-Leibler divergence between the two is the loss.
    """
    levels = STEPS + 1
    used = int(np.flatnonzero(counts)[-1]) + 1
    if used <= levels:
        return used
    best, least = used, np.inf
    for kept in range(levels, used + 1, 8):
        clipped = counts[:kept].astype(np.float64)
        truth = clipped.copy()
        truth[-1] += counts[kept:].sum()
        edges = np.linspace(0, kept, levels + 1).astype(np.int64)[:-1]
        filled = clipped > 0
        sums = np.add.reduceat(clipped, edges)
        members = np.add.reduceat(filled.astype(np.float64), edges)
        mean = np.divide(sums, members, out=np.zeros_like(sums), where=members > 0)
        sizes = np.diff(np.append(edges, kept))
        rounded = np.where(filled, np.repeat(mean, sizes), 0.0)
        loss = _divergence(truth, rounded)
        if loss < least:
            best, least = kept, loss
    return best


def _divergence(truth: NDArray[np.float64], model: NDArray[np.float64]) -> float:
    real = truth > 0
    p = truth[real] / truth.sum()
    # A bin that the model empties would be infinitely surprising; it gets a grain of mass.
    q = np.maximum(model[real] / max(float(model.sum()), 1.0), 1e-12)
    return float(np.sum(p * np.log(p / q)))


def collect(
    model: ModelProto, calls: Iterable[Mapping[str, Array]], tensors: Sequence[str]
) -> dict[str, Histogram]:
    """Run a graph over samples, and count the values of some of its tensors.

    Args:
        model: The graph; it is left as it is.
        calls: Inputs by name; floating inputs are cast to the types of the graph.
        tensors: Names of tensors inside the graph.

    Raises:
        CalibrationError: There are no calls, or an activation is not finite.
        MissingExtraError: ONNX Runtime is not installed.
    """
    from onnx import ModelProto, ValueInfoProto

    onnxruntime = import_onnxruntime(extra="cpu", purpose="calibration")
    opened = ModelProto()
    opened.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    known = {value.name for value in model.graph.output}
    opened.graph.output.extend(
        ValueInfoProto(name=name) for name in tensors if name not in known | inputs
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = [name for name in tensors if name not in inputs]
    types = {value.name: value.type for value in session.get_inputs()}
    found = {name: Histogram() for name in tensors}
    count = 0
    for call in calls:
        fed = {name: as_taken(array, types[name]) for name, array in call.items()}
        values = dict(zip(wanted, session.run(wanted, fed), strict=True)) if wanted else {}
        for name, histogram in found.items():
            histogram.add(fed[name] if name in inputs else values[name])
        count += 1
    if not count:
        raise CalibrationError(
            "there are no samples to calibrate with",
            remedy="Draw samples with: vtloc-calibrate samples BUNDLE --out FILE",
        )
    return found


def as_taken(array: Array, kind: str) -> Array:
    """An array, of any shape, with floats cast to an ONNX Runtime input of type ``kind``."""
    if kind == "tensor(float16)" and array.dtype == np.float32:
        return array.astype(np.float16)
    if kind == "tensor(float)" and array.dtype == np.float16:
        return array.astype(np.float32)
    return array
