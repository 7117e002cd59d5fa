"""Pictures to vectors in the space of frames and sentences.

A picture is untrusted like a video, and is read like one: a file whose first frame counts.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vtloc_runtime.errors import DecoderLostError, QueryError, UsageError, VideoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import SharedSpace
    from vtloc_runtime.localize.encoding.video_encoder import VideoEncoder
    from vtloc_runtime.localize.questions.question import Picture
    from vtloc_runtime.video.isolation.chunks import Read

_Key: TypeAlias = tuple[object, ...]

PICTURE_INSTANTS = (0.0,)
"""What is read of a picture: the frame on screen at the beginning."""

_KEPT = 256


class PictureEncoder:
    """Runs the visual network over pictures; safe to call from several threads.

    Args:
        videos: What encodes the videos that pictures are compared with.
        shared: The columns of features that lie in the sentences' space.
    """

    def __init__(self, videos: VideoEncoder, shared: SharedSpace | None) -> None:
        self._videos = videos
        self._shared = shared
        self._known: OrderedDict[_Key, NDArray[np.float64]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse pictures where they cannot be compared.

        Raises:
            UsageError: Frames and sentences share no space.
        """
        check_shared(self._shared)

    def encode(self, picture: Picture, read: Read) -> NDArray[np.float64]:
        """The picture's vector ``[Ds]``, of length 1; the same file is encoded once.

        Args:
            picture: The picture.
            read: Where it is decoded.

        Raises:
            UsageError: Frames and sentences share no space.
            QueryError: The picture cannot be read, or shows nothing.
            NetworkError: The visual network failed.
        """
        shared = check_shared(self._shared)
        key = _identity(picture)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        features = self._features(picture, read)
        vector = np.asarray(features[shared.start : shared.stop], dtype=np.float64)
        length = float(np.linalg.norm(vector))
        if not length:
            raise QueryError("the picture shows nothing that can be compared", where=picture.name)
        vector = vector / length
        with self._lock:
            self._known[key] = vector
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return vector

    def _features(self, picture: Picture, read: Read) -> NDArray[np.floating]:
        """The features of the picture, ``[Dv]``: those of a video's first frame."""
        from vtloc_runtime.video import VideoOptions

        try:
            found = self._videos.encode(
                picture.source, VideoOptions(), instants=PICTURE_INSTANTS, read=read
            )
        except DecoderLostError:
            raise
        except VideoError as error:
            raise QueryError(
                f"the picture cannot be read: it {error.what.replace('a video', 'a picture')}",
                where=picture.name,
                remedy="Give a whole JPEG, PNG or WebP file",
            ) from error
        row: NDArray[np.floating] = found.rows[0]
        return row


def check_shared(shared: SharedSpace | None) -> SharedSpace:
    """The space that pictures are compared in.

    Args:
        shared: The bundle's.

    Raises:
        UsageError: Frames and sentences share none.
    """
    if shared is None:
        raise UsageError(
            "the bundle cannot be asked with pictures: its frames and sentences share no space",
            remedy="Ask with a sentence, or open a bundle whose encoders share a space",
        )
    return shared


def _identity(picture: Picture) -> _Key:
    """What tells one version of a picture from another."""
    source = picture.source
    if isinstance(source, bytes):
        return ("bytes", hashlib.sha256(source).digest())
    path = os.fspath(source)
    try:
        state = Path(path).stat()
    except (OSError, ValueError):
        return ("path", path)
    return ("file", path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
