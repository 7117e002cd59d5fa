"""Fuzz for hours, or one input again.

    python -m tests.fuzz --hours 8
    python -m tests.fuzz --target videos --first 5000 --count 2000
    python -m tests.fuzz --target videos --replay fuzz-findings/videos-1725.ts

Inputs are made from numbers: the same number gives the same input, as long as seeds and encoders
are the same. Those that break the promise are saved.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import Asked, Campaign, Finding, fuzz
from tests.fuzz.target import Input
from tests.fuzz.targets import TARGETS

_SLICE = 200
"""Inputs of one target before it is the next one's turn."""


def main() -> None:
    """Fuzz, print a line for each finding and a table at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="all if none")
    parser.add_argument("--hours", type=float, help="how long to go on")
    parser.add_argument("--first", type=int, default=0, help="the first number")
    parser.add_argument("--count", type=int, help="how many numbers each target gets")
    parser.add_argument("--replay", type=Path, help="an input that was saved")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="where they go")
    options = parser.parse_args()
    names = options.target or sorted(TARGETS)
    if options.replay is not None:
        if len(names) != 1:
            parser.error("--replay needs one --target")
        given = Input(options.replay.read_bytes(), options.replay.suffix)
        sys.exit(bool(_run(names[0], [given], options.out).findings))
    if options.hours is None and options.count is None:
        parser.error("say how long with --hours, or how much with --count")
    end = time.monotonic() + 3600 * (options.hours or 1e6)
    seen = {name: Campaign() for name in names}
    for first in itertools.count(options.first, _SLICE):
        left = _SLICE
        if options.count is not None:
            left = min(left, options.first + options.count - first)
        if left <= 0 or time.monotonic() > end:
            break
        for name in names:
            if time.monotonic() < end:
                seen[name].add(_run(name, range(first, first + left), options.out))
    print(table(seen))
    sys.exit(any(campaign.findings for campaign in seen.values()))


def _run(name: str, asked: list[Asked] | range, out: Path) -> Campaign:
    """Run inputs, and save those that break the promise."""
    seen = Campaign()
    for seen in fuzz(TARGETS[name], asked):
        if seen.findings and (finding := seen.findings[-1]) not in _saved:
            _saved.append(finding)
            print(f"{name} {finding}\n  saved as {_save(name, finding, out)}", flush=True)
    return seen


_saved: list[Finding] = []


def _save(name: str, finding: Finding, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    number = finding.asked if isinstance(finding.asked, int | str) else "replayed"
    path = out / f"{name}-{number}{finding.given.suffix}"
    path.write_bytes(finding.given.content)
    return path


def table(seen: dict[str, Campaign]) -> str:
    """What campaigns came to, as Markdown."""
    lines = [
        "| input | tried | accepted | refused | broke the promise | most CPU s | most MB more |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in seen.items():
        lines.append(
            f"| {name} | {one.tried} | {one.counts['accepted']} | {one.counts['refused']} "
            f"| {len(one.findings)} | {one.cpu:.1f} | {one.memory / 1e6:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
