"""Coverage of samples, and the checks that they are enough and diverse enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_calibration.errors import CalibrationError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array

MINIMUM_VIDEOS = 3
MINIMUM_FRAMES = 32
MINIMUM_SENTENCES = 8

_FLAT = 4.0
"""Grey levels of deviation below which a picture shows nothing."""

_LUMA = np.array([0.299, 0.587, 0.114])


def coverage(calls: Mapping[NetworkName, Sequence[Mapping[str, Array]]]) -> dict[str, Any]:
    """Describe samples in plain JSON values.

    Args:
        calls: The calls of each network that the bundle has, inputs by name.

    Returns:
        Counts, and quantiles (5, 50 and 95 percent) of brightness, contrast and lengths.
    """
    found = {"frames": _frames(calls["visual"]), "sentences": _sentences(calls["text"])}
    if "localizer" in calls:
        found["localizer"] = _localizer(calls["localizer"])
    return found


def check_coverage(summary: Mapping[str, Any]) -> None:
    """Refuse samples that are too few or too much alike to calibrate with.

    Args:
        summary: ``videos`` and what ``coverage`` gives.

    Raises:
        CalibrationError: The first reason found.
    """
    frames, sentences = summary["frames"], summary["sentences"]
    videos = len(summary["videos"])
    reasons = [
        (videos < MINIMUM_VIDEOS, f"{videos} readable videos; {MINIMUM_VIDEOS} are needed"),
        (
            frames["count"] < MINIMUM_FRAMES,
            f"{frames['count']} frames; {MINIMUM_FRAMES} are needed",
        ),
        (
            frames["distinct"] < MINIMUM_FRAMES // 2,
            f"only {frames['distinct']} of {frames['count']} frames differ",
        ),
        (
            frames["flat"] > frames["count"] / 2,
            f"{frames['flat']} of {frames['count']} frames show nothing (one plain colour)",
        ),
        (
            sentences["distinct"] < MINIMUM_SENTENCES,
            f"{sentences['distinct']} distinct sentences; {MINIMUM_SENTENCES} are needed",
        ),
    ]
    if (localizer := summary.get("localizer")) is not None:
        reasons += [
            (not localizer["finite"], "features or tokens are not all finite"),
            (
                localizer["spread"] <= 0,
                "every frame has the same features: the visual network tells nothing apart",
            ),
        ]
    for holds, reason in reasons:
        if holds:
            raise CalibrationError(
                f"the samples do not represent anything: {reason}",
                remedy="Give more videos and sentences like the ones in production",
            )


def _frames(calls: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    if not calls:
        return {"count": 0, "distinct": 0, "flat": 0}
    frames = np.concatenate([np.asarray(call["frames"]) for call in calls])
    # A picture of 8 x 8 tells frames apart as the eye does; noise of the codec does not count.
    small = frames[:, :: max(1, frames.shape[1] // 8), :: max(1, frames.shape[2] // 8)]
    luma: NDArray[np.float64] = frames.astype(np.float64) @ _LUMA
    contrast = luma.std(axis=(1, 2))
    return {
        "count": len(frames),
        "distinct": len(np.unique((small // 16).reshape(len(frames), -1), axis=0)),
        "flat": int((frames.std(axis=(1, 2)).max(axis=1) < _FLAT).sum()),
        "brightness": _quantiles(luma.mean(axis=(1, 2))),
        "contrast": _quantiles(contrast),
        "clipped": round(float(((frames == 0) | (frames == 255)).mean()), 4),
    }


def _sentences(calls: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    rows = [
        tuple(int(token) for token in ids[mask])
        for call in calls
        for ids, mask in zip(
            np.asarray(call["token_ids"]), np.asarray(call["token_mask"], dtype=bool), strict=True
        )
    ]
    return {
        "count": len(rows),
        "distinct": len(set(rows)),
        "vocabulary": len({token for row in rows for token in row}),
        "tokens": _quantiles([len(row) for row in rows]),
    }


def _localizer(calls: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    features = [
        np.asarray(call["features"])[np.asarray(call["frame_mask"], dtype=bool)].astype(np.float64)
        for call in calls
    ]
    tokens = [
        np.asarray(call["tokens"])[np.asarray(call["token_mask"], dtype=bool)].astype(np.float64)
        for call in calls
    ]
    finite = all(bool(np.isfinite(array).all()) for array in (*features, *tokens))
    joined = np.concatenate(features) if features else np.zeros((0, 1))
    return {
        "count": len(calls),
        "frames": _quantiles([np.asarray(call["frame_mask"]).shape[1] for call in calls]),
        "finite": finite,
        "spread": round(float(joined.std(axis=0).max()), 6) if len(joined) and finite else 0.0,
        "feature_norm": _quantiles(np.linalg.norm(joined, axis=1)) if finite else None,
    }


def _quantiles(values: ArrayLike) -> list[float] | None:
    found = np.asarray(values, dtype=np.float64)
    if not found.size:
        return None
    return [round(float(quantile), 4) for quantile in np.quantile(found, [0.05, 0.5, 0.95])]
