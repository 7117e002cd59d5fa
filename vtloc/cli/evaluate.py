"""``vtloc evaluate``: scores of a checkpoint, or of what ``vtloc-run`` answered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from vtloc.evaluation import Scores, evaluate_network, score
from vtloc.evaluation.result_matching import match_records
from vtloc.features.sources import open_tokens
from vtloc.model import load_checkpoint
from vtloc.model.samples import StoredSamples
from vtloc.training.device import training_device
from vtloc.training.experiment import FeaturesConfig, open_all_frames
from vtloc_runtime.bundle.manifest import Decoding
from vtloc_runtime.errors import CheckpointError, FeatureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from vtloc.annotations import Split
    from vtloc_runtime.bundle.manifest import DecodingStrategy


def score_results(
    results: Path, split: Split, *, strict: bool, precision: bool, console: Console
) -> tuple[Scores, Split]:
    """Score a results file; queries that it does not answer count as missed.

    Raises:
        OutputError: The file is no results file, or nothing in it matches.
    """
    matched = match_records(results, split.examples)
    if matched.unanswered:
        console.print(f"{matched.unanswered} queries have no answer and count as missed")
    if matched.strangers:
        console.print(f"{matched.strangers} records belong to no query of {split.title}")
    return score(matched.pairs, strict=strict, precision=precision), split


def score_checkpoint(
    checkpoint: Path,
    split: Split,
    *,
    frames: Sequence[Path],
    tokens: Path | None,
    frames_per_second: float | None,
    strategy: DecodingStrategy,
    strict: bool,
    precision: bool,
    skip_missing: bool,
    device: str,
    console: Console,
) -> tuple[Scores, Split]:
    """Score a checkpoint on stored features.

    Returns:
        Its scores, and the split as far as it was judged.

    Raises:
        UsageError: Features are not given.
        CheckpointError: The checkpoint cannot be read.
        FeatureError: Features are missing, or of another encoder than the checkpoint's.
    """
    if not frames or tokens is None:
        raise UsageError("scoring a checkpoint needs features", remedy="Give --frames and --tokens")
    loaded = load_checkpoint(checkpoint)
    frame_source = open_all_frames(
        tuple(FeaturesConfig(path=str(p), frames_per_second=frames_per_second) for p in frames)
    )
    token_source = open_tokens(tokens)
    for what, found, wanted in (
        ("frame", frame_source.dimension, loaded.config.feature_dim),
        ("token", token_source.dimension, loaded.config.token_dim),
    ):
        if found != wanted:
            raise FeatureError(
                f"the {what} features are {found} wide, the checkpoint takes {wanted}",
                where=checkpoint,
            )
    labelled = [example for example in split.examples if example.moments]
    samples = StoredSamples(labelled, frame_source, token_source)
    if missing := samples.missing():
        if not skip_missing:
            raise FeatureError(
                f"{len(missing)} of {len(labelled)} queries have no features, the first is "
                f"{missing[0].id} in {missing[0].video}",
                remedy="Extract them with vtloc features, or leave them out by --skip-missing",
            )
        console.print(f"{len(missing)} of {len(labelled)} queries have no features: left out")
        samples = samples.without(missing)
    network = loaded.network.to(training_device(device))
    scores = evaluate_network(
        network,
        samples.epoch(0),
        strategy=strategy,
        similarity_weight=_similarity_weight(loaded.metadata, checkpoint),
        strict=strict,
        precision=precision,
    )
    return scores, replace(split, examples=samples.examples)


def _similarity_weight(metadata: Mapping[str, str], checkpoint: Path) -> float:
    """The weight that a bundle of this checkpoint would decode ``combined`` with."""
    try:
        stored = json.loads(metadata.get("decoding", "{}"))
        return float(stored.get("similarity_weight", Decoding().similarity_weight))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"decoding in its metadata is not valid: {error}", where=checkpoint
        ) from error
