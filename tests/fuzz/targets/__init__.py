"""What is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets.cache_entries import CacheEntries
from tests.fuzz.targets.decoder_messages import DecoderMessages
from tests.fuzz.targets.job_lists import JobLists
from tests.fuzz.targets.manifests import Manifests
from tests.fuzz.targets.onnx_files import OnnxFiles
from tests.fuzz.targets.results_files import ResultsFiles
from tests.fuzz.targets.sidecars import Sidecars
from tests.fuzz.targets.tokenizers import Tokenizers
from tests.fuzz.targets.videos import IsolatedVideos, Videos

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        Videos,
        IsolatedVideos,
        DecoderMessages,
        Manifests,
        Tokenizers,
        Sidecars,
        OnnxFiles,
        JobLists,
        ResultsFiles,
        CacheEntries,
    )
}
