"""How much one request may ask."""

from __future__ import annotations

from collections.abc import Sequence

from vtloc_runtime.batch.job_lists.jobs import check_rewrites
from vtloc_runtime.errors import UsageError

MOST_QUERIES = 64
"""Sentences of one request."""
MOST_PICTURES = 8
"""Pictures of one request."""
LONGEST_QUERY = 2000
"""Characters of one sentence."""


def check_request(queries: Sequence[str], rewrites: Sequence[str], like: Sequence[str]) -> None:
    """Refuse a request that asks nothing or too much, or whose sentences are too long.

    Raises:
        UsageError: It does.
    """
    if not queries and not like:
        raise UsageError("nothing is asked", remedy="Give a sentence, or a picture")
    count = len(queries) + len(rewrites)
    if count > MOST_QUERIES:
        raise UsageError(f"{count} sentences were given; give at most {MOST_QUERIES}")
    if len(like) > MOST_PICTURES:
        raise UsageError(f"{len(like)} pictures were given; give at most {MOST_PICTURES}")
    check_rewrites(queries, rewrites)
    longest = max(map(len, (*queries, *rewrites)), default=0)
    if longest > LONGEST_QUERY:
        raise UsageError(f"a sentence has {longest} characters; at most {LONGEST_QUERY} are read")
