"""Annotations of the benchmarks, stored features, and the samples that training sees."""

from vtloc.data.benchmarks import read_split
from vtloc.data.examples import Example, Split, filter_examples
from vtloc.data.samples import Sample, SampleSource, StoredSamples
from vtloc.data.sources import open_frames, open_tokens

__all__ = [
    "Example",
    "Sample",
    "SampleSource",
    "Split",
    "StoredSamples",
    "filter_examples",
    "open_frames",
    "open_tokens",
    "read_split",
]
