"""Claim: a decoder that was taken over can neither hang its parent nor be believed.

Has the double of a decoder hold every hostile conversation of ``tests/support``: messages cut
short or byte by byte, impossible numbers, endless frames, other requests' answers. Counts the
readings that ended in one error about that video, and the longest.

    python -m benchmarks.durability.conversations
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.hostile_decoder import CONVERSATIONS, OPTIONS, taken_over
from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

_TIMEOUT = 1.0
_HANG = 10.0


def main() -> None:
    """Hold the conversations and print the counts."""
    outcomes: Counter[str] = Counter()
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "film.mp4"
        video.write_bytes(b"any")
        for name, talk in CONVERSATIONS.items():
            began = time.monotonic()
            outcome = "ended in one error"
            with taken_over(talk), DecoderProcess(DecoderLimits(timeout=_TIMEOUT)) as decoder:
                try:
                    list(decoder.read(str(video), OPTIONS, 4))
                    outcome = f"believed: {name}"
                except VideoError:
                    pass
                except Exception as error:  # noqa: BLE001 - this is what is counted
                    outcome = f"escaped: {name}: {type(error).__name__}"
            seconds = time.monotonic() - began
            longest = max(longest, seconds)
            outcomes[outcome if seconds < _HANG else f"hang: {name}"] += 1
    print("| what became of the reading | conversations |")
    print("|---|--:|")
    for outcome, count in outcomes.most_common():
        print(f"| {outcome} | {count} |")
    print(f"\nThe longest took {longest:.1f} s, with a timeout of {_TIMEOUT:g} s.")
    sys.exit(outcomes.keys() != {"ended in one error"})


if __name__ == "__main__":
    main()
