"""Claim: whole videos are answered several times faster than by a straightforward PyTorch pipeline.

That pipeline does what most code does: PyAV decodes every frame, Pillow makes the encoder's
picture of each one that is wanted, then encoder and localizer run eagerly, in FP32, one video
after another. vtloc runs the same weights, exported in FP32, over the same films and sentences.
Both run in this process, in turn, film by film; opening networks is not counted. Seconds of
processor are given too, which tell the same story where a machine has other work to do.

Two more columns say where answers differ: vtloc is also given the very pictures that Pillow made,
and those pictures with every value at most one level off.

    python -m benchmarks.throughput.end_to_end                                   # 1080 lines
    python -m benchmarks.throughput.end_to_end moving-720p slides-720p camera-720p
    python -m benchmarks.throughput.end_to_end moving-720p --minutes 2 --clip ViT-B-16
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF

import av
import numpy as np
import torch
from PIL import Image

from benchmarks.throughput.films import KINDS, QUERIES, write_film
from benchmarks.throughput.machine import machine_line
from vtloc.model import LocalizerConfig, LocalizerNetwork
from vtloc.model.checkpoint import save_checkpoint
from vtloc_export.bundle_export import export_bundle
from vtloc_export.networks import load_networks
from vtloc_export.options import ExportOptions
from vtloc_export.parity.torch_backend import TorchNetwork
from vtloc_export.sources import ExportSource, load_source
from vtloc_runtime import EncodedVideo, Localizer
from vtloc_runtime.batch.answer import run_jobs
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.encoding.sketch import even_sampling
from vtloc_runtime.localize.spans.moments import Moment
from vtloc_runtime.video import FrameSequence
from vtloc_runtime.video.isolation.chunks import ReadingEnd

FILMS = ("moving-1080p", "slides-1080p")
BATCH = 16
SAME = 0.1


class PlainPipeline:
    """The straightforward pipeline.

    Args:
        source: The localizer and the names of its encoders.
        bundle: For the tokenizer and how answers are decoded.
    """

    def __init__(self, source: ExportSource, bundle: Bundle) -> None:
        networks = load_networks(source)
        self._visual = networks.visual
        self._localizer = Localizer(
            bundle,
            {
                name: TorchNetwork(name, module, networks.widths[name])
                for name, module in networks.modules.items()
            },
            encoder="",
            batch=BATCH,
        )
        self._manifest = bundle.manifest
        self.shown: FrameSequence | None = None
        """The pictures of the last video, and their times."""
        self._ending = ReadingEnd(0)

    @torch.inference_mode()
    def answer(self, path: Path, queries: tuple[str, ...]) -> list[Moment]:
        """The best moment of each sentence."""
        features, times = self._encode(path)
        video = self.as_sampled(EncodedVideo(features.numpy(), np.array(times), times[-1]))
        return [self._localizer.localize(video, query).moments[0] for query in queries]

    def as_sampled(self, video: EncodedVideo) -> EncodedVideo:
        """An encoding of the last video's pictures, with what the file tells of its scenes."""
        sampling = even_sampling(Fraction(self._manifest.frames_per_second), self._ending)
        return replace(video, sampling=sampling, duration=self._ending.duration)

    def _encode(self, path: Path) -> tuple[torch.Tensor, list[float]]:
        pictures, parts, times = [], [], []
        for image, seconds in self._wanted(path):
            if image is None:
                continue
            times.append(seconds)
            pictures.append(np.asarray(self._shrink(image)))
            if len(pictures) % BATCH == 0:
                parts.append(self._visual(torch.from_numpy(np.stack(pictures[-BATCH:]))))
        if rest := len(pictures) % BATCH:
            parts.append(self._visual(torch.from_numpy(np.stack(pictures[-rest:]))))
        self.shown = FrameSequence(np.stack(pictures), np.array(times))
        return torch.cat(parts), times

    def _wanted(self, path: Path) -> Iterator[tuple[Image.Image | None, float]]:
        """The picture on screen at each second, and when it came there."""
        keyframes = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            due, shown, step = 0.0, None, 1 / float(stream.average_rate or 30)
            for frame in container.decode(stream):
                now = float(frame.time or 0)
                while shown is not None and now > due:
                    yield shown.to_image(), float(shown.time or 0)
                    due += 1 / self._manifest.frames_per_second
                shown = frame
                if frame.key_frame:
                    keyframes.append(now)
            if shown is not None:
                last = float(shown.time or 0)
                self._ending = ReadingEnd(last + step, keyframes=np.array(keyframes), period=step)
                yield (shown.to_image() if due < last + step else None), last

    def _shrink(self, image: Image.Image) -> Image.Image:
        """The encoder's own transform: the shorter side, bicubic, and the centre."""
        size = self._manifest.preprocessing.size
        scale = size / min(image.size)
        wide, high = (max(size, int(side * scale)) for side in image.size)
        small = image.resize((wide, high), Image.Resampling.BICUBIC)
        left, top = round((wide - size) / 2), round((high - size) / 2)
        return small.crop((left, top, left + size, top + size))


@dataclass(frozen=True, slots=True)
class Measured:
    """One way over one film.

    Attributes:
        rate: Seconds of video answered in a second.
        processor: Seconds of processor for a minute of video.
        moments: The best one of each sentence.
    """

    rate: float
    processor: float
    moments: list[Moment]

    def same(self, moments: list[Moment]) -> float:
        """The share of sentences whose moment is the other's, to a tenth of a second."""
        pairs = zip(self.moments, moments, strict=True)
        apart = [max(abs(a.start - b.start), abs(a.end - b.end)) for a, b in pairs]
        return sum(distance < SAME for distance in apart) / len(apart)


class Clock:
    """Time since it was made, by the wall and by the processors."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), self._used()

    def measured(self, seconds: float, moments: list[Moment]) -> Measured:
        """What it took to answer so many seconds of video."""
        wall, used = time.perf_counter() - self._wall, self._used() - self._processor
        return Measured(seconds / wall, 60 * used / seconds, moments)

    @staticmethod
    def _used() -> float:
        # Decoders that have ended count as children.
        spent = [resource.getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in spent)


def run_plain(pipeline: PlainPipeline, film: Path, seconds: float) -> Measured:
    """The straightforward pipeline over one film; a second film would take as long again."""
    clock = Clock()
    return clock.measured(seconds, pipeline.answer(film, QUERIES))


def run_vtloc(localizer: Localizer, films: list[Path], seconds: float) -> Measured:
    """The runtime over films, all at once."""
    videos = [
        VideoJobs(str(film), tuple(Job(f"{film.name} {q}", str(film), q) for q in QUERIES))
        for film in films
    ]
    clock = Clock()
    records = [
        record
        for found in run_jobs(localizer, videos, options=PipelineOptions(in_order=True))
        for record in found
    ]
    measured = clock.measured(len(films) * seconds, [])
    moments = []
    for record in records[: len(QUERIES)]:
        if not record.moments:
            raise SystemExit(f"{record.query}: {record.error}")
        best = record.moments[0]
        moments.append(Moment(best.start, best.end, best.score))
    return replace(measured, moments=moments)


def given(localizer: Localizer, plain: PlainPipeline, shown: FrameSequence | None) -> list[Moment]:
    """What the runtime answers about pictures that the straightforward pipeline made."""
    if shown is None:
        raise SystemExit("nothing was shown yet")
    video = plain.as_sampled(localizer.encode_video(shown))
    answers = localizer.localize(video, list(QUERIES))
    return [answer.moments[0] for answer in answers]


def off_by_one(shown: FrameSequence | None) -> FrameSequence | None:
    """The same pictures, each value at most one grey level off."""
    if shown is None:
        return None
    chance = np.random.default_rng(0)
    changed = [
        np.clip(picture + chance.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)
        for picture in shown.images
    ]
    return FrameSequence(np.stack(changed), shown.times)


def clip_checkpoint(folder: Path, model: str) -> Path:
    """A localizer on one of open_clip's models, both random: as slow as trained ones."""
    import open_clip

    torch.manual_seed(0)
    weights = folder / "clip.pt"
    torch.save(open_clip.create_model(model, pretrained=None).state_dict(), weights)
    network = LocalizerNetwork(LocalizerConfig(feature_dim=512, token_dim=384))
    path = folder / "clip.safetensors"
    save_checkpoint(
        path,
        network,
        visual_encoder=f"open_clip:{model}:{weights}",
        text_encoder="minilm",
        metadata={},
    )
    return path


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", nargs="*", default=FILMS, help="KIND-LINESp: " + ", ".join(KINDS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clip", choices=("ViT-B-32", "ViT-B-16"), help="with random weights")
    parser.add_argument("--folder", type=Path, help="keeps films and bundle for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = clip_checkpoint(Path(name), options.clip) if options.clip else DEFAULT_BUNDLE
        place = Path(name) / "clip" if options.clip else folder / "fp32"
        if not place.exists():
            export_bundle(checkpoint, place, ExportOptions(precisions=("fp32",)))
        # The straightforward pipeline knows no "no such moment".
        bundle = Bundle.open(place).always_answering()
        plain = PlainPipeline(load_source(checkpoint), bundle)
        print(
            "| film | PyTorch | vtloc, one film | vtloc, a film a core | with reuse "
            "| times faster | with reuse | same answers | with reuse "
            "| given its pictures | those off by one "
            "| processor: PyTorch | vtloc | with reuse | times less | with reuse |"
        )
        print("|---|" + 15 * "--:|", flush=True)
        for film in options.films:
            measure(film, options.minutes, folder, plain, bundle)
        print(
            "\nSeconds of video a second; seconds of processor a minute of video. "
            + machine_line("torch", "onnxruntime", "pillow")
        )


def measure(film: str, minutes: float, folder: Path, plain: PlainPipeline, bundle: Bundle) -> None:
    """Print a film's line."""
    kind, _, lines = film.partition("-")
    seconds = 60 * minutes
    path = folder / f"{film}-{minutes:g}.mp4"
    write_film(path, kind, lines=int(lines.removesuffix("p")), seconds=seconds)
    twin = path.with_suffix(".twin.mp4")
    shutil.copyfile(path, twin)
    before = run_plain(plain, path, seconds)
    with Localizer.open(bundle, reuse=0) as localizer:
        alone = run_vtloc(localizer, [path], seconds)
        pictures = given(localizer, plain, plain.shown)
        disturbed = given(localizer, plain, off_by_one(plain.shown))
    with Localizer.open(bundle, threads=1, reuse=0) as localizer:
        both = run_vtloc(localizer, [path, twin], seconds)
    with Localizer.open(bundle, threads=1) as localizer:
        reused = run_vtloc(localizer, [path, twin], seconds)
    twin.unlink()
    print(
        f"| {film}, {minutes:g} min | {before.rate:.1f} | {alone.rate:.1f} | {both.rate:.1f} "
        f"| {reused.rate:.1f} | {both.rate / before.rate:.1f} | {reused.rate / before.rate:.1f} "
        f"| {both.same(before.moments):.0%} | {reused.same(before.moments):.0%} "
        f"| {before.same(pictures):.0%} | {before.same(disturbed):.0%} "
        f"| {before.processor:.2f} | {both.processor:.2f} | {reused.processor:.2f} "
        f"| {before.processor / both.processor:.1f} | {before.processor / reused.processor:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
