"""Studies of networks in lower precision: what ``sensitivity`` and ``int8`` share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.report_files import check_report_file, write_report
from vtloc_export.errors import ParityError
from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_calibration.quantize.qdq import Processor
    from vtloc_calibration.quantize.sensitivity import LoweredPrecision, Ranges, Study
    from vtloc_calibration.quantize.trials import AnswerTrial, NetworkTrial
    from vtloc_calibration.samples.samples import Samples
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.networks.interface import Array


def chosen_networks(chosen: Sequence[str] | None, bundle: Bundle) -> tuple[NetworkName, ...]:
    """The networks that were named, or all of a bundle's.

    Raises:
        UsageError: The bundle has no network of that name.
    """
    names = bundle.manifest.network_names
    if not chosen:
        return names
    if unknown := set(chosen) - set(names):
        raise UsageError(
            f"the bundle has no network named {', '.join(sorted(unknown))}",
            where=bundle.path,
            remedy=f"Its networks are: {', '.join(names)}",
        )
    return tuple(name for name in names if name in chosen)


@contextmanager
def answer_trial(
    bundle: Bundle, labels: Path | None, videos: Path | None
) -> Iterator[AnswerTrial | None]:
    """Asks labelled sentences; None without labels."""
    from vtloc_calibration.quantize.trials import AnswerTrial
    from vtloc_calibration.scores.labelled import read_labelled

    if labels is None:
        yield None
        return
    if videos is None:
        raise UsageError("give --videos too, the folder that holds the videos of --labels")
    with AnswerTrial(bundle, read_labelled(labels, videos=videos, skip_missing=True)) as trial:
        yield trial


def study_network(
    bundle: Bundle,
    network: NetworkName,
    samples: Samples,
    *,
    precision: LoweredPrecision,
    answers: AnswerTrial | None,
    granularity: Literal["module", "node"],
    ranges: Ranges | None,
    base: str | None = None,
    processor: Processor = "cpu",
    rank_answers: bool = True,
) -> tuple[Study, bytes]:
    """Study one network in a lower precision, with a bar on the terminal.

    Args:
        bundle: The bundle that has the network.
        network: Which network.
        samples: Real inputs.
        precision: What modules are lowered to.
        answers: Asks the bundle as well.
        granularity: Whether whole modules or single products are lowered.
        ranges: Where INT8 ranges come from; None takes the fastest network within the bounds.
        base: The precision of everything else; None takes FP32.
        processor: Where the graph will run.
        rank_answers: Whether every module's effect on answers is measured too.

    Returns:
        The study, and the ONNX file of the network with the chosen modules lowered.
    """
    from vtloc_calibration.quantize.fastest_form import fastest_form, int8_forms
    from vtloc_calibration.quantize.sensitivity import half_trial, study

    def studied(method: Ranges | None, trial: NetworkTrial) -> Study:
        title = f"{network}, {precision}" if method is None else f"{network}, int8, {method}"
        with progress_bar(title, 2 * len(trial.modules)) as advance:
            return study(
                trial, precision, method=method, rank_answers=rank_answers, progress=advance
            )

    if precision == "fp16":
        trial = half_trial(bundle, network, samples, answers=answers, granularity=granularity)
        found = studied(None, trial)
        return found, trial.lowered(found.choice.lowered).SerializeToString()
    trials = int8_forms(
        bundle,
        network,
        samples,
        answers=answers,
        granularity=granularity,
        ranges=ranges,
        base=base,
        processor=processor,
    )
    return fastest_form(network, trials, studied, timed_calls(samples, network))


def timed_calls(samples: Samples, network: NetworkName) -> list[Mapping[str, Array]]:
    """The calls that a network is timed on."""
    return list(samples.split()[1].batches(network))[:4]


def show_study(found: Study) -> None:
    """Print a study as a table."""
    title = f"{found.network}, {found.precision}"
    table = Table(
        title=title if found.method is None else f"{title}, {found.method}", title_justify="left"
    )
    answered = found.choice.effect.answers is not None
    table.add_column("module", overflow="fold", min_width=28)
    for column in ("L2 alone", "with lesser", "cosine alone"):
        table.add_column(column, justify="right")
    if answered:
        table.add_column("moved", justify="right")
    table.add_column("spared")
    for ranked in found.ranked:
        row = [
            ranked.module,
            f"{ranked.alone.relative_l2:.2e}",
            f"{ranked.together.relative_l2:.2e}",
            f"{ranked.alone.cosine:.6f}",
        ]
        if ranked.alone.answers is not None:
            row.append(f"{ranked.alone.answers.moved:.1%}")
        table.add_row(*row, "spared" if ranked.module in found.choice.islands else "")
    Console().print(table)
    if found.choice.reason is not None:
        print_message(f"{found.network}: lowering everything is too much: {found.choice.reason}")
    effect = found.choice.effect
    print_message(
        f"{found.network}: {len(found.choice.islands)} of {len(found.ranked)} spared; "
        f"relative L2 {effect.relative_l2:.2e}, cosine {effect.cosine:.6f}"
    )


def _report_files(folder: Path, precision: str) -> tuple[Path, Path]:
    """The table as JSON, and the plot."""
    return folder / f"sensitivity.{precision}.json", folder / f"sensitivity.{precision}.svg"


def check_report(folder: Path | None, precision: str) -> None:
    """Refuse, before anything is measured, a folder with other programs' files of these names."""
    for file in () if folder is None else _report_files(folder, precision):
        check_report_file(file)


def write_studies(studies: Sequence[Study], precision: str, folder: Path | None) -> None:
    """Write studies as JSON and a plot; without a folder, nothing."""
    if folder is None:
        return
    from vtloc_calibration.scores.plots import plot_sensitivity

    table, plot = _report_files(folder, precision)
    write_report({study.network: study.to_json() for study in studies}, table)
    plot_sensitivity(studies, plot)


def refuse_broken(studies: Sequence[Study]) -> None:
    """End with an error if the bounds allow no choice of modules.

    Raises:
        ParityError: Nothing holds the bounds.
    """
    for study in studies:
        if not study.choice.holds:
            raise ParityError(
                f"no choice of modules in {study.precision} is within the bounds: "
                f"{study.choice.reason}",
                where=f"the {study.network} network",
                remedy="Draw more samples, or try --granularity node",
            )
