"""Finish a freshly exported default bundle, ready to ship.

``python -m recipes.default_bundle.calibrate BUNDLE`` measures everything from what Python packages
carry: INT8's ranges from stock footage, scores from composed timelines. With ``--labels`` and
``--videos`` scores are calibrated on real footage instead, which states probabilities better.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np
import typer

from recipes.default_bundle.composed import ComposedVideos, ask_composed
from recipes.default_bundle.stock_footage import stock_footage
from vtloc_calibration.bundle_edit import (
    share_variant,
    store_bank,
    store_islands,
    store_parity,
    store_reference,
    store_scores,
    store_variant,
)
from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.quantize.sensitivity import best_method, int8_trials, study
from vtloc_calibration.quantize.speedup import measure_payoff
from vtloc_calibration.report_files import write_report
from vtloc_calibration.samples.recorder import Amount
from vtloc_calibration.samples.samples import draw_samples
from vtloc_calibration.scores.answers import ask, without_calibration, write_answers
from vtloc_calibration.scores.labelled import read_labelled, with_absent
from vtloc_calibration.scores.report import Target, calibrate_scores
from vtloc_export.errors import ParityError
from vtloc_export.sentence_bank import noun_phrases, ordinary_sentences
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.console.program import new_application, run_program
from vtloc_runtime.errors import OutputError, UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank

if TYPE_CHECKING:
    from vtloc_calibration.samples.samples import Samples
    from vtloc_calibration.scores.answers import Answers
    from vtloc_runtime.bundle.manifest import NetworkName

LARGEST = 40_000_000
"""Bytes that the shipped bundle may take."""

KEPT = 0.9
"""Share of the sentences that a video shows that go on being answered. A stricter bundle turns
away more of the others, and with them right answers that it is merely unsure of."""

ABSENT_A_VIDEO = 6

_BASE: str = "compact"
_SHARED: tuple[NetworkName, ...] = ("text", "localizer")
"""Networks that serve INT8 with the file of the base: they run once a sentence, not once a frame,
so what their own files would gain in time is nothing beside the bytes."""

COMPOSED = "composed timelines, as the localizer was trained on; no photographs, no videos"

app = new_application(add_completion=False)


@app.command()
def default_bundle(
    bundle: Annotated[Path, typer.Argument(help="The bundle, as exported in compact.")],
    *,
    labels: Annotated[
        Path | None, typer.Option(help="Labelled moments to calibrate scores on.")
    ] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder that holds their videos.")] = None,
    data: Annotated[
        str, typer.Option(help="What these videos are, for the bundle's manifest.")
    ] = "labelled videos",
    report: Annotated[
        Path | None, typer.Option(help="Folder for the answers, the figures and the plots.")
    ] = None,
) -> None:
    """Calibrate the default bundle and add its INT8 variant."""
    ship(bundle, labels=labels, videos=videos, data=data, report=report)


def ship(
    path: Path,
    *,
    labels: Path | None = None,
    videos: Path | None = None,
    data: str = "labelled videos",
    report: Path | None = None,
) -> Bundle:
    """Calibrate a bundle's scores and add its INT8 variant; run again, it does both again.

    Args:
        path: A bundle of the default encoders, exported in ``compact``.
        labels: Labelled moments; None composes timelines.
        videos: The folder of their videos.
        data: What the videos are, for the manifest.
        report: Where answers, figures and plots go; None keeps none.

    Raises:
        VtlocError: A package is missing, a bound breaks, or the bundle grows too large.
    """
    if (labels is None) != (videos is None):
        raise UsageError("give --labels and --videos together")
    bundle = Bundle.open(path)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = add_int8(bundle, _stock_samples(bundle, Path(scratch)))
    bundle = calibrate(bundle, labels, videos, data=data, report=report)
    size = sum(bundle.resolve(file).stat().st_size for file in bundle.files())
    if size > LARGEST:
        raise OutputError(f"the bundle takes {size} bytes; {LARGEST} may ship", where=path)
    print_message(f"{path} is calibrated and serves INT8; it takes {size} bytes.")
    return bundle


def _stock_samples(bundle: Bundle, folder: Path) -> Samples:
    footage = stock_footage(folder)
    amount = Amount(videos=len(footage), frames=192, frames_per_video=16)
    with progress_bar("stock footage", len(footage)) as advance:
        return draw_samples(bundle, footage, amount=amount, precision=_BASE, progress=advance)


def add_int8(bundle: Bundle, samples: Samples) -> Bundle:
    """Give the frame network a file in INT8 for CPUs; the others serve INT8 as they are.

    Args:
        bundle: Where to.
        samples: Real inputs.

    Raises:
        ParityError: No choice of modules holds the bounds.
    """
    trials = int8_trials(bundle, "visual", samples, processor="cpu")
    method = best_method(trials)
    trial = trials[method]
    with progress_bar("visual, int8", 2 * len(trial.modules)) as advance:
        found = study(trial, "int8", method=method, progress=advance)
    if not found.choice.holds:
        raise ParityError(f"INT8 breaks the bounds: {found.choice.reason}", where="visual")
    content = trial.lowered(found.choice.lowered).SerializeToString()
    file = bundle.variant("visual", _BASE)
    payoff = measure_payoff(
        {_BASE: bundle.read(file.file, file.sha256), "int8": content},
        "visual",
        list(samples.split()[1].batches("visual"))[:4],
    )
    print_message(f"visual: {payoff.verdict('int8', _BASE)}")
    bundle = store_variant(bundle, "visual", "int8", content, like=_BASE)
    bundle = store_islands(bundle, "visual", "int8", found.choice.islands)
    measured: dict[str, Any] = {
        "visual": {
            **found.summary(),
            "bytes": len(content),
            "processor": "cpu",
            **payoff.to_json(),
        }
    }
    for name in _SHARED:
        bundle = share_variant(bundle, name, "int8", like=_BASE)
        measured[name] = {"shared_with": _BASE}
    return store_parity(bundle, "int8", measured)


def add_bank(bundle: Bundle, composed: ComposedVideos) -> Bundle:
    """Give the bundle what tells presence: ordinary sentences and nouns, and composed frames.

    Its frames are made of nouns, so nouns are half of the bank. No picture's features ship.

    Args:
        bundle: Where to.
        composed: Composes the frames.
    """
    texts = (*ordinary_sentences()[::2], *noun_phrases()[::4])
    with Localizer.open(bundle, precision=_BASE) as localizer:
        vectors = [one.sentence for one in localizer.sentences.encode(texts)]
    # Frames were laid into the sentences' space: there is no gap, and so no mean to take away.
    bank = SentenceBank.of_vectors(vectors, np.mean(vectors, axis=0))
    return store_reference(store_bank(bundle, bank, mean_weight=0.0), composed.reference())


def calibrate(
    bundle: Bundle,
    labels: Path | None = None,
    videos: Path | None = None,
    *,
    data: str = "labelled videos",
    report: Path | None = None,
) -> Bundle:
    """Give a bundle its bank, and fit its scores and its threshold.

    Args:
        bundle: A bundle of the default encoders.
        labels: Labelled moments; None composes timelines.
        videos: The folder of their videos.
        data: What the videos are, for the manifest.
        report: Where answers, figures and plots go; None keeps none.

    Raises:
        VtlocError: A package is missing, or the answers are too few.
    """
    provenance = bundle.manifest.provenance
    composed = ComposedVideos.load((provenance.visual_encoder, provenance.text_encoder))
    bundle = add_bank(bundle, composed)
    with Localizer.open(without_calibration(bundle), precision=_BASE) as localizer:
        found = (
            _ask_composed(localizer, composed)
            if labels is None or videos is None
            else _ask_videos(localizer, labels, videos)
        )
    calibrated = calibrate_scores(found.answers, method="temperature", target=Target("keep", KEPT))
    measured = {"data": COMPOSED if labels is None else data, **calibrated.summary()}
    if report is not None:
        from vtloc_calibration.scores.plots import plot_scores

        write_answers(found, report / "answers.jsonl")
        write_report(calibrated.to_json(), report / "scores.json")
        plot_scores(calibrated, report / "scores.svg")
    print_message(
        f"{calibrated.present} sentences, {calibrated.absent} absent ones: calibration error "
        f"{calibrated.error_before:.3f} before, {calibrated.error_after:.3f} after"
    )
    if calibrated.held_out is not None:
        held = calibrated.held_out
        print_message(
            f"{held.kept:.1%} of present sentences kept, {held.rejected:.1%} of absent rejected"
        )
    return store_scores(
        bundle,
        calibrated.calibration,
        measured=measured,
        least_margin=calibrated.least_margin,
    )


def _ask_composed(localizer: Localizer, composed: ComposedVideos) -> Answers:
    count = 400
    with progress_bar("timelines", 4 * count) as advance:
        return ask_composed(localizer, composed, count=count, progress=advance)


def _ask_videos(localizer: Localizer, labels: Path, videos: Path) -> Answers:
    labelled = with_absent(read_labelled(labels, videos=videos), per_video=ABSENT_A_VIDEO)
    with progress_bar("sentences", len(labelled)) as advance:
        return ask(localizer, labelled, progress=advance)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(app, "recipes.default_bundle.calibrate", arguments, extra="default-bundle")


if __name__ == "__main__":
    main()
