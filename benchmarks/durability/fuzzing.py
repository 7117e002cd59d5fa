"""Claim: nothing but errors of vtloc comes out of damaged files, in 10 s and 300 MB.

Runs the fuzz targets of ``tests/fuzz`` over more inputs than the tests do: hand-made ones, and
mutations by number. An input breaks the promise if another exception escapes, a process crashes,
it takes more than 10 s of processor time or 300 MB more than a good input (for videos, a clip of
ten seconds), or a file or connection is opened that is none of its business.

    python -m benchmarks.durability.fuzzing
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.throughput.machine import machine_line
from tests.fuzz.__main__ import table
from tests.fuzz.campaign import Campaign, fuzz
from tests.fuzz.targets import TARGETS

_COUNTS = {
    "videos": 2400,
    "videos-in-process": 2400,
    "decoder-messages": 800,
    "manifests": 800,
    "tokenizers": 800,
    "sidecars": 800,
    "onnx": 800,
    "lists": 800,
    "results": 800,
    "cache": 800,
}
_NEWS = 200


def main() -> None:
    """Run every target and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the inputs")
    options = parser.parse_args()
    seen: dict[str, Campaign] = {}
    for name, count in _COUNTS.items():
        began = time.monotonic()
        asked = range(round(options.share * count))
        for campaign in fuzz(TARGETS[name], asked, known=True):
            seen[name] = campaign
            if campaign.tried % _NEWS == 0:
                print(f"{name} {campaign.tried}", file=sys.stderr)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        for finding in seen[name].findings:
            print(f"{name} {finding}", file=sys.stderr)
    print(table(seen))
    print(f"\n{machine_line('onnxruntime')}")
    sys.exit(any(campaign.findings for campaign in seen.values()))


if __name__ == "__main__":
    main()
