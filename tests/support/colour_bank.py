"""A bank of ordinary sentences for the bundle of colours."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.colours import COLOURS, write_colour_bundle
from vtloc_runtime.bundle.manifest import SentenceBankEntry
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank

COLOUR_BANK = SentenceBank.of_vectors(
    [np.array(colour) / 255 - 0.5 for colour in COLOURS.values()]
    + [[0.1, -0.2, 0.3], [-0.3, 0.1, 0.2], [0.2, 0.3, -0.1]],
    np.array([0.1, 0.1, 0.1]),
)
"""Each colour, and three more directions."""

EVERY_DIRECTION = SentenceBank.of_vectors(
    np.random.default_rng(0).normal(size=(200, 3)), np.zeros(3)
)
"""Beside it, a colour that a video shows has a margin above 1, and any other colour one below."""


def banked(
    folder: Path, bank: SentenceBank = COLOUR_BANK, *, localizer: bool = False, **fields: Any
) -> Path:
    """Write the bundle of colours with a bank of sentences; by default without a localizer."""
    content = bank.to_bytes()
    folder.mkdir(parents=True)
    (folder / "bank.safetensors").write_bytes(content)
    entry = SentenceBankEntry(
        file="bank.safetensors", sha256=hashlib.sha256(content).hexdigest(), **fields
    )
    return write_colour_bundle(folder, localizer=localizer, sentence_bank=entry)
