"""Optimization profiles: the lengths of batch, frames and tokens that engines are built for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.bundle.engine_file import AxisRange
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName, TensorEntry

AXES = ("batch", "frames", "tokens")

Traffic = dict[str, AxisRange]
"""The range of every axis that requests are expected to have."""

_FORM = "Write MIN:OPT:MAX, such as 1:8:32, or one number for a fixed length"


def default_traffic(bundle: Bundle) -> Traffic:
    """The traffic that a bundle's own limits suggest, for profiles that state only some axes.

    Frames go up to the bundle's windows, tokens up to its longest sentence, and a batch holds up
    to 64 sentences or frames.
    """
    frames = bundle.manifest.windows.frames
    tokens = bundle.manifest.tokenizer.max_tokens
    return {
        "batch": AxisRange(min=1, opt=16, max=64),
        "frames": AxisRange(min=1, opt=min(128, frames), max=frames),
        "tokens": AxisRange(min=1, opt=min(16, tokens), max=tokens),
    }


def runtime_traffic(bundle: Bundle, network: NetworkName) -> tuple[Traffic, ...]:
    """What the runtime sends a network, a profile each.

    Frames come in chunks of 64. Sentences come one at a time to a service, which a profile of its
    own is tuned for, and together in a run over many; the localizer takes at most 32 at once.
    """
    base = default_traffic(bundle)
    if network == "visual":
        return ({**base, "batch": AxisRange(min=1, opt=64, max=64)},)
    most = 32 if network == "localizer" else 64
    return (
        {**base, "batch": AxisRange(min=1, opt=1, max=4)},
        {**base, "batch": AxisRange(min=1, opt=16, max=most)},
    )


def parse_range(text: str, *, option: str) -> AxisRange:
    """A range written as ``MIN:OPT:MAX``, or one number for a fixed length.

    Raises:
        UsageError: It is written otherwise, or the numbers are out of order.
    """
    try:
        numbers = [int(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != len(("min", "opt", "max")):
        raise UsageError(f"{text!r} is not a range", where=option, remedy=_FORM)
    low, tuned, high = numbers
    if not 1 <= low <= tuned <= high:
        raise UsageError(
            f"the range {text!r} is not in order: 1 <= MIN <= OPT <= MAX",
            where=option,
            remedy=_FORM,
        )
    return AxisRange(min=low, opt=tuned, max=high)


def parse_traffic(text: str, base: Mapping[str, AxisRange]) -> Traffic:
    """A profile written as ``batch=1:8:32,frames=1:64:512``; axes left out are those of ``base``.

    Raises:
        UsageError: An axis is unknown or named twice, or a range is malformed.
    """
    named: Traffic = {}
    for part in text.split(","):
        axis, _, span = part.strip().partition("=")
        if axis not in AXES or axis in named:
            raise UsageError(
                f"{part.strip()!r} names no axis of its own",
                where="--profile",
                remedy=f"Write AXIS=MIN:OPT:MAX, separated by commas; axes are {', '.join(AXES)}",
            )
        named[axis] = parse_range(span, option=f"--profile {axis}")
    return {**base, **named}


def check_traffic(bundle: Bundle, traffic: Iterable[Traffic]) -> None:
    """Refuse traffic that the bundle's networks cannot serve.

    Raises:
        UsageError: More tokens are asked for than the text network takes.
    """
    longest = bundle.manifest.tokenizer.max_tokens
    for profile in traffic:
        if profile["tokens"].max > longest:
            raise UsageError(
                f"the text network takes at most {longest} tokens, not {profile['tokens'].max}",
                where="--tokens",
            )


def network_profiles(
    inputs: Sequence[TensorEntry], traffic: Iterable[Traffic]
) -> tuple[Traffic, ...]:
    """The profiles of one network: the axes that it has, and no profile twice.

    Raises:
        UsageError: The network has a dynamic axis that traffic says nothing about.
    """
    axes = sorted({axis for entry in inputs for axis in entry.shape if isinstance(axis, str)})
    profiles: list[Traffic] = []
    for shape in traffic:
        if unknown := [axis for axis in axes if axis not in shape]:
            raise UsageError(f"no range is known for the axis {', '.join(unknown)}")
        profile = {axis: shape[axis] for axis in axes}
        if profile not in profiles:
            profiles.append(profile)
    return tuple(profiles)
