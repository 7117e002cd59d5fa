"""Representative inputs of a bundle's networks, recorded while the runtime works.

Each network is wrapped while real videos are encoded and real sentences are localized, so that
calibration sees what production sees: the same frames, batches, padding and windows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.coverage import check_coverage, coverage
from vtloc_calibration.samples.recorder import Amount, RecordedNetwork, Recorder
from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName
from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.networks.interface import Array, Network

_FORMAT = "vtloc-samples-1"


@dataclass(frozen=True, slots=True)
class SampledVideo:
    """A video to draw from, and the sentences to ask it.

    Attributes:
        video: The file.
        queries: Sentences; at least one.
    """

    video: Path
    queries: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Recorded inputs of a bundle's networks.

    Attributes:
        calls: The calls of each network, inputs by name. Calls of the visual network hold one
            frame each.
        summary: What the samples cover, as plain JSON values.
    """

    calls: Mapping[NetworkName, tuple[Mapping[str, Array], ...]]
    summary: dict[str, Any]

    @property
    def frames(self) -> NDArray[np.uint8]:
        """Every frame, uint8 ``[F, S, S, 3]``."""
        return np.concatenate([np.asarray(call["frames"]) for call in self.calls["visual"]])

    def batches(self, network: NetworkName, *, size: int = 8) -> Iterator[Mapping[str, Array]]:
        """The calls of a network, frames in batches.

        Args:
            network: Which network.
            size: Frames in one batch of the visual network.

        Raises:
            CalibrationError: The samples were drawn with a bundle that has no such network.
        """
        if network not in self.calls:
            raise CalibrationError(
                f"the samples hold no inputs of the {network} network",
                remedy="Draw samples with this bundle: vtloc-calibrate samples BUNDLE --out FILE",
            )
        if network != "visual":
            yield from self.calls[network]
            return
        frames = self.frames
        for top in range(0, len(frames), size):
            yield {"frames": frames[top : top + size]}

    def split(self, share: float = 0.75) -> tuple[Samples, Samples]:
        """Split into calls to calibrate with and held-out calls; both keep the summary.

        Args:
            share: Share of the calls of each network that the first part gets.
        """
        parts: tuple[dict[NetworkName, Any], dict[NetworkName, Any]] = {}, {}
        for network, calls in self.calls.items():
            cut = max(1, min(len(calls) - 1, round(share * len(calls))))
            parts[0][network], parts[1][network] = calls[:cut], calls[cut:]
        return Samples(parts[0], self.summary), Samples(parts[1], self.summary)

    def save(self, path: Path) -> None:
        """Write the samples as safetensors, and their summary as JSON beside them.

        Args:
            path: The safetensors file.

        Raises:
            OutputError: A file cannot be written.
        """
        from safetensors.numpy import save

        check_samples_file(path)
        tensors = {
            f"{network}/{index}/{name}": np.ascontiguousarray(array)
            for network, calls in self.calls.items()
            for index, call in enumerate(calls)
            for name, array in call.items()
        }
        text = json.dumps(self.summary, indent=2, sort_keys=True)
        content = save(tensors, metadata={"format": _FORMAT, "summary": text})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
            with atomic_write(path.with_suffix(".json")) as file:
                file.write(f"{text}\n".encode())
        except OSError as error:
            raise OutputError(f"cannot write the samples: {error.strerror}", where=path) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read samples back.

        Args:
            path: The safetensors file.

        Raises:
            CalibrationError: The file is missing or does not contain samples.
        """
        from safetensors import SafetensorError, safe_open

        calls: dict[NetworkName, dict[int, dict[str, Array]]] = {name: {} for name in NETWORK_NAMES}
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise CalibrationError("the file does not contain samples", where=path)
                for key in file.keys():  # noqa: SIM118 (no mapping: it cannot be iterated)
                    network, index, name = key.split("/")
                    calls[network].setdefault(int(index), {})[name] = file.get_tensor(key)
            summary = json.loads(metadata["summary"])
        except (OSError, SafetensorError, ValueError, KeyError, RecursionError) as error:
            raise CalibrationError(
                f"cannot read the samples: {error}",
                where=path,
                remedy="Draw them with: vtloc-calibrate samples BUNDLE --out FILE",
            ) from error
        ordered = {
            name: tuple(found[index] for index in sorted(found))
            for name, found in calls.items()
            if found
        }
        return cls(ordered, summary)


def check_samples_file(path: Path, *, inputs: Sequence[tuple[str, Path]] = ()) -> None:
    """Refuse to write samples over a file that holds something else.

    Args:
        path: The safetensors file; its summary goes beside it, as ``.json``.
        inputs: What each input is, and its path.

    Raises:
        OutputError: One of the two files is an input, or holds something else.
    """
    check_output(path, inputs=inputs, ours=is_samples)
    summary = path.with_suffix(".json")
    check_output(summary, inputs=inputs, ours=lambda content: b'"unreadable"' in content)


def is_samples(beginning: bytes) -> bool:
    """Whether a file holds samples, and may be replaced by others.

    Args:
        beginning: The first bytes of the file.
    """
    return f'"format":"{_FORMAT}"'.encode() in beginning


def draw_samples(
    bundle: Bundle,
    videos: Sequence[SampledVideo],
    *,
    amount: Amount | None = None,
    precision: str | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Samples:
    """Run a bundle over videos, and record some of the inputs of its networks.

    Args:
        bundle: The bundle to run.
        videos: The videos to draw from; those that cannot be read are listed in the summary.
        amount: How much to draw.
        precision: The precision that runs; None takes the bundle's own.
        seed: The same videos and seed give the same samples.
        progress: Called with the number of videos done.

    Raises:
        CalibrationError: The samples are too few or too much alike; the reason is given.
    """
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.networks.load import open_network, preferred_precision
    from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

    wanted = amount or Amount()
    random = np.random.default_rng(seed)
    order = random.permutation(len(videos))[: wanted.videos]
    recorder = Recorder(wanted, random)
    networks: dict[NetworkName, Network] = {}
    chosen = precision or preferred_precision(bundle, "visual", backend="onnxruntime", device="cpu")
    encoder = bundle.variant("visual", chosen).sha256
    read: list[str] = []
    unreadable: dict[str, str] = {}
    seconds = 0.0
    with ExitStack() as opened:
        for name in bundle.manifest.network_names:
            network = open_network(bundle, name, precision=precision)
            networks[name] = RecordedNetwork(opened.enter_context(network), recorder)
        localizer = Localizer(bundle, networks, encoder=encoder, batch=8)
        decoder = opened.enter_context(DecoderProcess())
        for done, index in enumerate(sorted(order), start=1):
            video = videos[index]
            try:
                encoded = localizer.encode_video(video.video, read=decoder.read)
            except VideoError as error:
                unreadable[video.video.name] = str(error)
                recorder.drop_video()
            else:
                picked = random.permutation(len(video.queries))[: wanted.queries_per_video]
                localizer.localize(encoded, [video.queries[place] for place in sorted(picked)])
                recorder.end_video()
                read.append(video.video.name)
                seconds += encoded.duration
            if progress is not None:
                progress(done)
    calls = {name: recorder.calls()[name] for name in networks}
    summary = {
        "bundle": bundle.manifest.name,
        "seed": seed,
        "videos": read,
        "seconds": round(seconds, 3),
        "unreadable": unreadable,
        **coverage(calls),
    }
    check_coverage(summary)
    return Samples(calls, {**summary, "sha256": _digest(calls)})


def _digest(calls: Mapping[NetworkName, Sequence[Mapping[str, Array]]]) -> str:
    found = hashlib.sha256()
    for network in NETWORK_NAMES:
        for call in calls.get(network, ()):
            for name in sorted(call):
                found.update(f"{network}/{name}{call[name].shape}".encode())
                found.update(np.ascontiguousarray(call[name]).tobytes())
    return found.hexdigest()
