"""The file format of cached features: safetensors, with a checksum over every bit of it."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, EvenSampling, SeenFrames
from vtloc_runtime.system.untrusted_json import decode_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = "5"
_NO_CHECK = b'"check": "00000000"'


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: str
    duration: str
    encoder: str
    warnings: str
    check: str
    step: str = ""
    period: str = ""


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    facts: _Facts = msgspec.field(name="__metadata__")
    times: _Tensor
    features: _Tensor
    index: _Tensor | None = None
    seen: _Tensor | None = None
    keyframes: _Tensor | None = None
    cuts: _Tensor | None = None
    scenes: _Tensor | None = None


_KINDS = {
    "times": ("F64", np.float64),
    "features": ("F32", np.float32),
    "index": ("I64", np.int64),
    "keyframes": ("F64", np.float64),
    "seen": ("BOOL", np.bool_),
    "cuts": ("BOOL", np.bool_),
    "scenes": ("F64", np.float64),
}


def encode_entry(encoded: EncodedVideo, key: str) -> tuple[bytes | memoryview, ...]:
    """A safetensors file, part by part: the library would hold a long video's features twice."""
    arrays: dict[str, NDArray[np.generic]] = {"times": encoded.times, "features": encoded.rows}
    if encoded.index is not None:
        arrays["index"] = encoded.index
    if (seen := encoded.seen) is not None:
        arrays |= {"keyframes": seen.keyframes, "seen": seen.frames, "cuts": seen.cuts}
    facts = {
        "version": VERSION,
        "duration": repr(float(encoded.duration)),
        "encoder": encoded.encoder,
        "warnings": json.dumps(list(encoded.warnings)),
        "check": "00000000",
    }
    if (sampling := encoded.sampling) is not None:
        arrays["scenes"] = sampling.scenes
        facts |= {"step": repr(float(sampling.step)), "period": repr(float(sampling.period))}
    header: dict[str, object] = {"__metadata__": facts}
    body, end = [], 0
    for name, array in arrays.items():
        kind, dtype = _KINDS[name]
        plain: NDArray[Any] = np.ascontiguousarray(array, dtype=dtype)
        begin, end = end, end + plain.nbytes
        header[name] = {"dtype": kind, "shape": plain.shape, "data_offsets": [begin, end]}
        body.append(plain.data.cast("B"))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    text = text.replace(_NO_CHECK, _check(key, text, *body), 1)
    return (len(text).to_bytes(8, "little") + text, *body)


def decode_entry(content: bytes, key: str) -> EncodedVideo:
    """Read what ``encode_entry`` wrote for the same key; every bit of it is checked.

    Raises:
        VtlocError: It is damaged, or the entry of another key.
        ValueError: Likewise.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    text, body = content[8:end], memoryview(content)[end:]
    header = decode_json(text, _Header, fail=OutputError)
    facts = header.facts
    # Quotes inside a text are escaped, so that no other field looks like this one.
    check = f'"check": "{facts.check}"'.encode()
    bare = text.replace(check, _NO_CHECK, 1)
    if facts.version != VERSION or check != _check(key, bare, body):
        raise OutputError("the entry is damaged, or belongs to another video")
    arrays: dict[str, NDArray[Any]] = {}
    for name, (kind, dtype) in _KINDS.items():
        tensor: _Tensor | None = getattr(header, name)
        if tensor is not None:
            begin, stop = tensor.data_offsets
            if tensor.dtype != kind or not 0 <= begin <= stop <= len(body) or min(tensor.shape) < 0:
                raise OutputError("the entry's numbers are not where it says")
            arrays[name] = np.frombuffer(body[begin:stop], dtype=dtype).reshape(tensor.shape)
    return EncodedVideo(
        arrays["features"],
        arrays["times"],
        float(facts.duration),
        facts.encoder,
        decode_json(facts.warnings.encode(), tuple[str, ...], fail=OutputError),
        index=arrays.get("index"),
        seen=_seen(arrays, len(arrays["times"])),
        sampling=None
        if "scenes" not in arrays
        else EvenSampling(float(facts.step), float(facts.period), arrays["scenes"]),
    )


def _seen(arrays: dict[str, NDArray[Any]], frames: int) -> SeenFrames | None:
    """What was looked at, where the entry says so.

    Raises:
        ValueError: The arrays do not belong together.
    """
    if "seen" not in arrays:
        return None
    if not {"keyframes", "cuts", "index"} <= arrays.keys():
        raise ValueError("what was looked at is not all there")
    looked, keyframes, cuts = (arrays[name] for name in ("seen", "keyframes", "cuts"))
    if looked.shape != (frames,) or keyframes.ndim != 1 or cuts.shape != keyframes.shape:
        raise ValueError("what was looked at does not belong to the frames")
    if len(keyframes) > len(arrays["features"]) or not (np.diff(keyframes) > 0).all():
        raise ValueError("the keyframes have no features, or do not rise")
    return SeenFrames(looked, keyframes, cuts)


def _check(key: str, header: bytes, *body: bytes | memoryview) -> bytes:
    """The field of the header that holds the CRC-32 of all of an entry.

    It is there for accidents, and takes a seventh of the time of a cryptographic hash: nobody
    gains by forging their own cache.

    Args:
        key: The entry's name, so that one in another's place is found out.
        header: The header, its check blank.
        body: The numbers.
    """
    value = zlib.crc32(f"{key} {len(header)}\0".encode() + header)
    for part in body:
        value = zlib.crc32(part, value)
    return b'"check": "%08x"' % value
