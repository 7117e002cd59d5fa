"""``vtloc``: features, training, evaluation, and the paper's tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from vtloc_runtime.errors import UsageError, VtlocError

if TYPE_CHECKING:
    from vtloc.annotations import Split
    from vtloc.evaluation.metrics import Scores
    from vtloc.training.ablation import Arm, ArmData

PROGRAM = "vtloc"
INTERRUPTED = 130
PIPE_CLOSED = 141

app = typer.Typer(
    name=PROGRAM,
    help="Train and judge a localizer of moments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_console = Console(stderr=True)


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


class Format(StrEnum):
    """How tables are printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the table.")]
DurationsOption = Annotated[
    Path | None, typer.Option(help="Charades-STA: charades.json, where it is not beside them.")
]
FramesOption = Annotated[
    list[Path] | None, typer.Option(help="Frame features; several are joined side by side.")
]
TokensOption = Annotated[Path | None, typer.Option(help="Token features.")]
RateOption = Annotated[
    float | None, typer.Option(help="Frames a second of features made elsewhere.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]


@app.command()
def features(
    videos: Annotated[list[Path] | None, typer.Argument(help="Videos, or folders of them.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="The store to fill; what it holds is kept.")],
    encoder: Annotated[
        str | None, typer.Option(help="Frame encoder, such as open_clip:ViT-B-32:openai.")
    ] = None,
    queries: Annotated[
        list[Path] | None, typer.Option(help="Annotations whose sentences to encode; repeatable.")
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder, such as hf:bert-base-uncased.")
    ] = None,
    frames_per_second: Annotated[float, typer.Option(help="How densely to sample.")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames at once.")] = 32,
    half: Annotated[bool, typer.Option("--half", help="Store float16, half the size.")] = False,
    durations: DurationsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Encode videos and sentences into a store; run again, it goes on where it stopped."""
    from vtloc.cli.features import encode_all_queries, encode_all_videos

    if not videos and not queries:
        raise UsageError("there is nothing to encode", remedy="Name videos, or --queries")
    failed = 0
    if videos:
        if encoder is None:
            raise UsageError("no frame encoder is given", where="--encoder")
        failed = encode_all_videos(
            videos,
            out,
            encoder,
            frames_per_second=frames_per_second,
            batch_size=batch_size,
            half=half,
            device=device,
            console=_console,
        )
    if queries:
        if text_encoder is None:
            raise UsageError("no text encoder is given", where="--text-encoder")
        encode_all_queries(
            queries,
            out,
            text_encoder,
            durations=durations,
            half=half,
            device=device,
            console=_console,
        )
    if failed:
        raise typer.Exit(1)


@app.command()
def train(
    configuration: Annotated[str, typer.Argument(help="A TOML file, or a recipe's name: paper.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run; one that was cut off goes on.")],
    train_annotations: Annotated[
        Path | None, typer.Option("--train", help="Annotations to learn from.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Annotations to be judged by.")] = None,
    frames: FramesOption = None,
    tokens: TokensOption = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configured one.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the configured ones.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the configured one.")] = None,
) -> None:
    """Train a localizer: one command, one file of configuration."""
    from vtloc.cli.train import data_section, read_experiment
    from vtloc.training.experiment import run_experiment
    from vtloc.training.loop import METRICS_NAME
    from vtloc.training.metrics_log import MetricsJournal, plot_curves
    from vtloc.training.progress import ProgressDisplay

    experiment = read_experiment(
        configuration,
        data=data_section(
            train_annotations=train_annotations,
            validation=validation,
            frames=frames,
            tokens=tokens,
            frames_per_second=frames_per_second,
            durations=durations,
        ),
        training={"seed": seed, "epochs": epochs, "device": device},
    )
    with ProgressDisplay(_console) as display:
        result = run_experiment(experiment, out, listener=display, say=_console.print)
    plot_curves(MetricsJournal(out / METRICS_NAME), out / "curves.png")
    _console.print(
        f"best epoch {result.best_epoch + 1} of {result.epochs}, "
        f"mIoU {result.best_score:.2f}: {result.checkpoint}",
        soft_wrap=True,
    )


@app.command()
def evaluate(
    answers: Annotated[Path, typer.Argument(help="A checkpoint, or results of vtloc-run.")],
    *,
    annotations: Annotated[Path, typer.Option(help="Annotations to be judged by.")],
    train_annotations: Annotated[
        Path | None, typer.Option("--train", help="Chooses the best constant window.")
    ] = None,
    frames: FramesOption = None,
    tokens: TokensOption = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    decoding: Annotated[Decoding, typer.Option(help="Of a checkpoint.")] = Decoding.JOINT,
    hit: Annotated[Counting, typer.Option(help="IoU >= m, or > m as 2D-TAN.")] = Counting.AT_LEAST,
    average_precision: Annotated[
        bool, typer.Option("--map", help="Also mAP, as QVHighlights defines it.")
    ] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out queries without features.")
    ] = False,
    device: DeviceOption = "cpu",
    style: FormatOption = Format.TABLE,
) -> None:
    """Score a checkpoint or a results file, beside the blind baselines."""
    from vtloc.annotations import read_split
    from vtloc.cli.evaluate import score_checkpoint, score_results
    from vtloc.evaluation.table import Row, blind_rows, print_table, title_of

    split = read_split(annotations, durations=durations)
    train = (
        None if train_annotations is None else read_split(train_annotations, durations=durations)
    )
    strict = hit is Counting.ABOVE
    scores: Scores
    if answers.suffix in {".jsonl", ".json"}:
        scores, split = score_results(
            answers, split, strict=strict, precision=average_precision, console=_console
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
            console=_console,
        )
    rows = blind_rows(split, train=train, strict=strict, precision=average_precision)
    print_table(title_of(split, strict=strict), [*rows, Row.of(answers.name, scores)], style.value)


@app.command()
def ablate(
    ablation: Annotated[
        str,
        typer.Argument(help="A TOML file of arms, or: components, text, backbone, design."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the runs; finished ones are kept.")],
    configuration: Annotated[str, typer.Option(help="What all arms share.")] = "paper",
    train_annotations: Annotated[
        Path | None, typer.Option("--train", help="Annotations to learn from.")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="Annotations to be judged by.")] = None,
    frames: Annotated[
        list[str] | None, typer.Option(help="Frame features, PATH or LABEL=PATH; repeatable.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option(help="Token features, PATH or LABEL=PATH; repeatable.")
    ] = None,
    frames_per_second: RateOption = None,
    durations: DurationsOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds an arm.")] = 1,
    epochs: Annotated[int | None, typer.Option(help="Instead of the configured ones.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the configured one.")] = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Train every arm of a table, and print it with the paper's own figures beside."""
    from vtloc.cli.ablate import ArmFeatures
    from vtloc.cli.train import data_section, read_experiment
    from vtloc.evaluation.table import print_table, title_of
    from vtloc.training.ablation import Ablation, run_ablation
    from vtloc.training.progress import ProgressDisplay

    arms = Ablation.read(ablation)
    given = ArmFeatures.parse(frames or [], tokens or [], frames_per_second)
    experiment = read_experiment(
        configuration,
        data=data_section(
            train_annotations=train_annotations,
            validation=validation,
            frames=given.first_frames(),
            tokens=given.first_tokens(),
            frames_per_second=frames_per_second,
            durations=durations,
        ),
        training={"epochs": epochs, "device": device},
    )
    splits: list[Split] = []

    def prepare(arm: Arm) -> ArmData | None:
        prepared = given.prepare(arm, experiment)
        if prepared is None:
            return None
        splits.append(prepared[1])
        return prepared[0]

    with ProgressDisplay(_console) as display:
        results = run_ablation(
            arms,
            prepare,
            folder=out,
            seeds=range(seeds),
            training=experiment.training,
            losses=experiment.losses,
            listener=display,
            say=_console.print,
        )
    where = f", {title_of(splits[0], strict=False)}" if splits else ""
    print_table(f"{arms.title}{where}", [row for r in results for row in r.rows()], style.value)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone; Python must not complain about that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except KeyboardInterrupt:
        _console.print(f"{PROGRAM}: stopped; the same command goes on from here")
        code = INTERRUPTED
    except VtlocError as error:
        line = " ".join(str(error).split())
        print(f"{PROGRAM}: {error.kind} error: {line}", file=sys.stderr)  # noqa: T201 - command line
        code = error.exit_code
    raise SystemExit(code)


def _run(words: list[str]) -> int:
    try:
        app(args=words, prog_name=PROGRAM)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0
