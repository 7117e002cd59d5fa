"""The training loop: epochs over any source of samples, early stopping, exact resume."""

from __future__ import annotations

import contextlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from vtloc.errors import ConfigurationError
from vtloc.evaluation.prediction import evaluate_network
from vtloc.model import LocalizerNetwork, LossConfig, save_checkpoint, total_loss
from vtloc.model.samples import batches
from vtloc.training.config import TrainingConfig
from vtloc.training.device import training_device
from vtloc.training.learning_rate import learning_rate
from vtloc.training.metrics_log import MetricsJournal
from vtloc.training.resume_state import TrainingProgress, load_state, save_state
from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vtloc.evaluation.metrics import Scores
    from vtloc.model import LocalizerConfig
    from vtloc.model.losses import Losses
    from vtloc.model.samples import Batch, SampleSource

_Item = TypeVar("_Item")

CHECKPOINT_NAME = "checkpoint.safetensors"
STATE_NAME = "state.safetensors"
METRICS_NAME = "metrics.jsonl"

_MAY_CHANGE = {"device", "epochs", "patience"}
"""Settings of a run that may differ when it is resumed."""


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What an epoch brought.

    Attributes:
        epoch: Its number, from zero.
        losses: Mean of each term of the loss, by name.
        validation: Scores afterwards.
        best: Whether no earlier epoch had a higher mIoU.
        seconds: How long it took.
    """

    epoch: int
    losses: Mapping[str, float]
    validation: Scores
    best: bool
    seconds: float


class TrainingListener:
    """Hears how training goes; override what is of interest."""

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """A step was done.

        Args:
            epoch: Number of the epoch, from zero.
            step: Steps done in it.
            steps: Steps in it.
            loss: The step's total loss.
        """

    def finished_epoch(self, report: EpochReport) -> None:
        """An epoch was done and validated."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Where training ended.

    Attributes:
        checkpoint: The best epoch's checkpoint.
        best_epoch: Its number, from zero.
        best_score: Its validation mIoU, percent.
        epochs: Epochs done in all.
    """

    checkpoint: Path
    best_epoch: int
    best_score: float
    epochs: int


def seeded_network(config: LocalizerConfig, *, seed: int) -> LocalizerNetwork:
    """A fresh network whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LocalizerNetwork(config)


def train(
    network: LocalizerNetwork,
    source: SampleSource,
    validation: SampleSource,
    *,
    folder: Path,
    visual_encoder: str,
    text_encoder: str,
    config: TrainingConfig | None = None,
    losses: LossConfig | None = None,
    metadata: Mapping[str, str] | None = None,
    listener: TrainingListener | None = None,
    started: Callable[[], None] = lambda: None,
) -> TrainingResult:
    """Train a network until its epochs are over or validation stops getting better.

    After each epoch ``folder`` holds ``checkpoint.safetensors`` (the best epoch so far),
    ``metrics.jsonl`` (a line an epoch) and ``state.safetensors``. Called again with the same
    arguments after a kill, training goes on from the last whole epoch and, on the same machine,
    ends with the same weights to the bit; of a run that has ended it just gives the result. The
    device, and the limits ``epochs`` and ``patience``, may differ between calls: a finished run
    goes on when it is given more. A cosine schedule then follows the new number of epochs.

    Args:
        network: Freshly made, best by `seeded_network`; it is trained in place.
        source: What to learn from; see `vtloc.model.samples.SampleSource`.
        validation: What to be judged by after each epoch; its epoch 0 is read.
        folder: Where everything goes.
        visual_encoder: Name of the frame encoder, kept in the checkpoint.
        text_encoder: Name of the text encoder, kept in the checkpoint.
        config: How to train; None is the paper's recipe.
        losses: What to minimize; None is the paper's.
        metadata: Kept in the checkpoint.
        listener: Hears of steps and epochs.
        started: Called once the folder has been found to be new or this run's own, before
            anything in it is written.

    Raises:
        ConfigurationError: The loss stopped being finite, or there is nothing to learn from.
        CheckpointError: The folder holds another run, or a damaged one.
        BackendError: The device is not there.
        OutputError: The folder cannot be written.
    """
    run = _Run(
        network,
        folder,
        config or TrainingConfig(),
        losses or LossConfig(),
        listener or TrainingListener(),
    )
    if not len(source):
        raise ConfigurationError("there is no sample to learn from", where="training")
    run.resume()
    started()
    run.journal.rewind(run.progress.epochs)
    while not run.ended():
        began = time.monotonic()
        terms = run.learn(source)
        scores = evaluate_network(
            run.network,
            validation.epoch(0),
            strategy=run.config.strategy,
            batch_size=run.config.batch_size,
        )
        best = scores.mean_iou > run.progress.best_score
        if best:
            save_checkpoint(
                run.folder / CHECKPOINT_NAME,
                run.network,
                visual_encoder=visual_encoder,
                text_encoder=text_encoder,
                metadata={**(metadata or {}), "validation_miou": f"{scores.mean_iou:.4f}"},
            )
        run.close_epoch(
            EpochReport(run.progress.epochs, terms, scores, best, time.monotonic() - began)
        )
    progress = run.progress
    return TrainingResult(
        run.folder / CHECKPOINT_NAME, progress.best_epoch, progress.best_score, progress.epochs
    )


class _Run:
    """One run: the network, its optimizer, and how far they came."""

    def __init__(
        self,
        network: LocalizerNetwork,
        folder: Path,
        config: TrainingConfig,
        losses: LossConfig,
        listener: TrainingListener,
    ) -> None:
        self.device = training_device(config.device)
        self.network = network.to(self.device)
        self.folder = folder
        self.config = config
        self.loss_config = losses
        self.listener = listener
        self.progress = TrainingProgress()
        self.journal = MetricsJournal(folder / METRICS_NAME)
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.settings: dict[str, Any] = {
            "training": {
                name: value for name, value in asdict(config).items() if name not in _MAY_CHANGE
            },
            "losses": asdict(losses),
            "localizer": network.config.to_json(),
        }

    def resume(self) -> None:
        """Continue where an earlier run in the folder stopped, or begin.

        Raises:
            CheckpointError: The folder holds another run, or a damaged one.
            OutputError: The folder cannot be written, or holds other files of these names.
        """
        check_output(self.folder / CHECKPOINT_NAME, ours=lambda content: b'"vtloc"' in content)
        check_output(self.folder / METRICS_NAME, ours=lambda content: b'"epoch"' in content)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create: {error.strerror}", where=self.folder) from error
        state = self.folder / STATE_NAME
        if state.exists():
            self.progress = load_state(state, self.network, self.optimizer, self.settings)

    def ended(self) -> bool:
        progress = self.progress
        stale = progress.epochs - 1 - progress.best_epoch
        return progress.epochs >= self.config.epochs or (
            progress.epochs > 0 and stale >= self.config.patience
        )

    def learn(self, source: SampleSource) -> dict[str, float]:
        """One pass over the source; the mean of each loss."""
        epoch, config = self.progress.epochs, self.config
        # Chance is drawn anew each epoch: a resumed run draws what an unbroken one would.
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        steps = math.ceil(len(source) / config.batch_size)
        sums = dict.fromkeys(("loss", "localization", "alignment", "diversity"), 0.0)
        done = 0
        self.network.train()
        groups = batches(source.epoch(epoch), config.batch_size, sigma=self.loss_config.sigma)
        for batch in _one_ahead(groups):
            rate = learning_rate(
                epoch * steps + done,
                config.epochs * steps,
                highest=config.learning_rate,
                warmup_steps=config.warmup_steps,
                schedule=config.schedule,
            )
            terms = self._step(batch.to(self.device), epoch, rate)
            done += 1
            for name, term in zip(
                sums,
                (terms.total, terms.localization, terms.alignment, terms.diversity),
                strict=True,
            ):
                sums[name] += float(term.detach())
            if not math.isfinite(sums["loss"]):
                raise ConfigurationError(
                    f"the loss is no longer finite in epoch {epoch}, step {done}",
                    where="training",
                    remedy="Lower learning_rate, set gradient_clip, or look for broken features",
                )
            self.listener.stepped(epoch, done, steps, float(terms.total.detach()))
        if not done:
            raise ConfigurationError("the source gave no sample", where="training")
        return {name: total / done for name, total in sums.items()} | {"learning_rate": rate}

    def _step(self, batch: Batch, epoch: int, rate: float) -> Losses:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self._autocast():
            states = self.network.states(
                batch.features, batch.frame_mask, batch.tokens, batch.token_mask
            )
        terms = total_loss(
            states,
            batch.targets,
            batch.frame_mask,
            batch.token_mask,
            config=self.loss_config,
            epoch=epoch,
        )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(terms.total)
        if self.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        return terms

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        wanted = self.config.precision
        able = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        if wanted == "bf16" or (wanted == "auto" and able):
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def close_epoch(self, report: EpochReport) -> None:
        """Write down an epoch; only the last write makes it count."""
        row = {
            "epoch": report.epoch,
            **report.losses,
            "validation": report.validation.to_json(),
            "best": report.best,
            "seconds": round(report.seconds, 3),
        }
        self.journal.append(row)
        old = self.progress
        self.progress = TrainingProgress(
            epochs=report.epoch + 1,
            best_epoch=report.epoch if report.best else old.best_epoch,
            best_score=report.validation.mean_iou if report.best else old.best_score,
        )
        state = self.folder / STATE_NAME
        save_state(state, self.network, self.optimizer, self.progress, self.settings)
        self.listener.finished_epoch(report)


def _one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items in the same order, the next one read while this one is learnt from."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = reader.submit(next, items, end)
        while (item := pending.result()) is not end:
            pending = reader.submit(next, items, end)
            yield cast("_Item", item)
