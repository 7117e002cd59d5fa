"""A file of sentences, one a line."""

from __future__ import annotations

from pathlib import Path

from vtloc_runtime.errors import JobError
from vtloc_runtime.system.text import numbered_lines


def read_sentences(path: Path) -> list[str]:
    """The sentences of a file, in its order; empty lines are passed over.

    Args:
        path: A UTF-8 text.

    Raises:
        JobError: It cannot be read, or holds no sentence.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobError(
            "the sentences are not UTF-8 text", where=path, remedy="Save them as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise JobError(f"cannot read the sentences: {reason}", where=path) from error
    sentences = [line.strip() for _, line in numbered_lines(text) if line.strip()]
    if not sentences:
        raise JobError("the file holds no sentence", where=path)
    return sentences
