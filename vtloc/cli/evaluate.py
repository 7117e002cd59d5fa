"""``vtloc evaluate``: scores of a checkpoint, or of the results of ``vtloc-run``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtloc.cli.options import (
    DeviceOption,
    DurationsOption,
    Format,
    FormatOption,
    FramesOption,
    RateOption,
    TokensOption,
)
from vtloc.errors import CheckpointError
from vtloc_runtime.errors import FeatureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from vtloc.annotations import Split
    from vtloc.evaluation import Scores
    from vtloc_runtime.bundle.manifest import DecodingStrategy


class Decoding(StrEnum):
    """How logits become moments."""

    JOINT = "joint"
    ARGMAX = "argmax"
    SOFT = "soft"
    SIMILARITY = "similarity"
    COMBINED = "combined"


class Counting(StrEnum):
    """When a moment is a hit."""

    AT_LEAST = ">="
    ABOVE = ">"


def evaluate(
    answers: Annotated[
        Path, typer.Argument(help="A checkpoint, or a results file of vtloc-run (.jsonl).")
    ],
    *,
    annotations: Annotated[Path, typer.Option(help="Annotations to compare with.")],
    train_annotations: Annotated[
        Path | None,
        typer.Option(
            "--train", help="Training annotations, from which the best constant window is chosen."
        ),
    ] = None,
    frames: FramesOption = None,
    tokens: TokensOption = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    decoding: Annotated[
        Decoding, typer.Option(help="How a checkpoint's logits become moments.")
    ] = Decoding.JOINT,
    hit: Annotated[
        Counting, typer.Option(help="Count IoU >= m as a hit, or IoU > m as 2D-TAN does.")
    ] = Counting.AT_LEAST,
    average_precision: Annotated[
        bool, typer.Option("--map", help="Also compute mAP, as QVHighlights defines it.")
    ] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out queries without features.")
    ] = False,
    device: DeviceOption = "cpu",
    style: FormatOption = Format.TABLE,
) -> None:
    """Score a checkpoint or a results file, beside baselines that never look at the video.

    A checkpoint needs --frames and --tokens, and PyTorch; a results file needs neither.
    """
    from rich.console import Console

    from vtloc.annotations import read_split
    from vtloc.evaluation.table import Row, blind_rows, print_table, title_of

    console = Console(stderr=True, markup=False)
    split = read_split(annotations, durations=durations)
    train = (
        None if train_annotations is None else read_split(train_annotations, durations=durations)
    )
    strict = hit is Counting.ABOVE
    if answers.suffix in {".jsonl", ".json"}:
        scores = score_results(
            answers, split, strict=strict, precision=average_precision, console=console
        )
    else:
        scores, split = score_checkpoint(
            answers,
            split,
            frames=frames or [],
            tokens=tokens,
            frames_per_second=frames_per_second,
            strategy=decoding.value,
            strict=strict,
            precision=average_precision,
            skip_missing=skip_missing,
            device=device,
            console=console,
        )
    rows = blind_rows(split, train=train, strict=strict, precision=average_precision)
    print_table(
        title_of(split, strict=strict), [*rows, Row.from_scores(answers.name, scores)], style.value
    )


def score_results(
    results: Path, split: Split, *, strict: bool, precision: bool, console: Console
) -> Scores:
    """Score a results file; queries without an answer count as missed.

    Raises:
        OutputError: The file is not a results file, or nothing in it matches.
    """
    from vtloc.evaluation import score
    from vtloc.evaluation.result_matching import match_records

    matched = match_records(results, split.examples)
    if matched.unanswered:
        console.print(f"{matched.unanswered} queries have no answer and count as missed")
    if matched.unmatched:
        console.print(f"{matched.unmatched} records belong to no query of {split.title}")
    return score(matched.pairs, strict=strict, precision=precision)


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
    from vtloc.evaluation.prediction import evaluate_network
    from vtloc.features.sources import open_tokens
    from vtloc.model import load_checkpoint
    from vtloc.model.samples import StoredSamples
    from vtloc.training.data import FeaturesConfig, open_all_frames, with_features
    from vtloc.training.device import training_device

    if not frames or tokens is None:
        raise UsageError("scoring a checkpoint needs features", remedy="Give --frames and --tokens")
    loaded = load_checkpoint(checkpoint)
    frame_source = open_all_frames(
        tuple(FeaturesConfig(path=str(p), frames_per_second=frames_per_second) for p in frames)
    )
    token_source = open_tokens(tokens)
    for what, given, wanted in (
        ("frame", frame_source.dimension, loaded.config.feature_dim),
        ("token", token_source.dimension, loaded.config.token_dim),
    ):
        if given != wanted:
            raise FeatureError(
                f"the {what} features are {given} wide, the checkpoint takes {wanted}",
                where=checkpoint,
            )
    labelled = [example for example in split.examples if example.moments]
    samples, notes = with_features(
        StoredSamples(labelled, frame_source, token_source), split.title, skip_missing=skip_missing
    )
    for note in notes:
        console.print(note)
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
    from vtloc_runtime.bundle.manifest import Decoding

    try:
        stored = json.loads(metadata.get("decoding", "{}"))
        return float(stored.get("similarity_weight", Decoding().similarity_weight))
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"decoding in its metadata is not valid: {error}", where=checkpoint
        ) from error
