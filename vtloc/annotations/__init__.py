"""Annotations of the benchmarks: queries, their videos and their moments."""

from vtloc.annotations.examples import Example, Split, filter_examples
from vtloc.annotations.readers import read_split

__all__ = ["Example", "Split", "filter_examples", "read_split"]
