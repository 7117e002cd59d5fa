"""The schema of ``bundle.json``: what a bundle says about itself."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 4
"""What is written. 2 may say when a video does not show what a sentence describes; 3 how long a
moment may be, and what scores depend on; it may have no localizer, and a sentence bank. In 4 the
sentence bank alone tells presence, in every bundle that has one."""
READABLE_VERSIONS = (1, 2, 3, 4)
MANIFEST_NAME = "bundle.json"

NetworkName = Literal["visual", "text", "localizer"]
NETWORK_NAMES: tuple[NetworkName, ...] = ("visual", "text", "localizer")
"""Every network that a bundle may have, in the order in which they run."""
ENCODER_NAMES: tuple[NetworkName, ...] = ("visual", "text")
"""Those that every bundle has."""

DecodingStrategy = Literal["joint", "argmax", "soft", "similarity", "combined"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the manifest; unknown fields are refused, so nothing is silently ignored."""


class TensorEntry(Entry, frozen=True, kw_only=True):
    """One input or output of a graph.

    Attributes:
        name: Its name in the graph.
        dtype: A numpy dtype name.
        shape: Fixed lengths as numbers, dynamic ones as names.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class ExternalFile(Entry, frozen=True, kw_only=True):
    """A file that holds weights of a network beside its ONNX file, which ends at 2 GiB.

    Attributes:
        file: Path inside the bundle, with forward slashes.
        sha256: Hash of the file's bytes, lower-case hex.
        bytes: The file's size.
    """

    file: str
    sha256: str
    bytes: int


class NetworkFile(Entry, frozen=True, kw_only=True, omit_defaults=True):
    """One ONNX file: a network in one precision.

    Attributes:
        file: Path inside the bundle, with forward slashes.
        sha256: Hash of the file's bytes, lower-case hex.
        inputs: What the graph takes.
        outputs: What it gives.
        external: The only other files that its weights may lie in ("external data").
    """

    file: str
    sha256: str
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    external: tuple[ExternalFile, ...] = ()


class NetworkEntry(Entry, frozen=True, kw_only=True):
    """A network and the precisions it comes in.

    Attributes:
        dims: Widths by name (``feature``, ``token``, ``sentence``, ``hidden``).
        variants: One file a precision: ``compact``, ``fp32``, ``fp16``, ``int8``.
        islands: Modules that keep a higher precision, by precision, as calibration chose them.
    """

    dims: dict[str, int]
    variants: dict[str, NetworkFile]
    islands: dict[str, tuple[str, ...]] = {}


class TokenizerEntry(Entry, frozen=True, kw_only=True):
    """The tokenizer, a Hugging Face ``tokenizer.json``.

    Attributes:
        file: Path inside the bundle.
        sha256: Hash of the file's bytes.
        max_tokens: Longest sentence the text network takes, special tokens included.
        pad_id: The id that fills up a batch; it is masked, so its value never matters.
    """

    file: str
    sha256: str
    max_tokens: int
    pad_id: int


class Preprocessing(Entry, frozen=True, kw_only=True):
    """How a decoded picture becomes the visual network's input.

    Attributes:
        size: Height and width of the square, pixels.
        resize: ``shorter-side`` keeps the proportions and crops the centre; ``squash`` does not.
        interpolation: The resampling kernel.
    """

    size: int = 224
    resize: Literal["shorter-side", "squash"] = "shorter-side"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


class SharedSpace(Entry, frozen=True, kw_only=True):
    """Where frames and sentences can be compared by cosine.

    Attributes:
        start: First column of the features that lies in the sentences' space.
        stop: One past the last; ``stop - start`` equals the text network's ``sentence`` width.
    """

    start: int
    stop: int


class Decoding(Entry, frozen=True, kw_only=True):
    """How logits become moments.

    Attributes:
        strategy: The default way; see ``vtloc_runtime.localize.spans.decoding``.
        similarity_weight: What a span that stands out perfectly from the curve of cosines is
            worth beside its two logits, which are shared out over the pieces of the video; only
            ``combined`` reads it.
    """

    strategy: DecodingStrategy = "joint"
    similarity_weight: float = 6.0


class Windows(Entry, frozen=True, kw_only=True):
    """What the localizer network sees at once, as in its training.

    Attributes:
        frames: Frames in one window, at most.
        overlap: Frames that neighbouring windows share.
        seconds: How long a moment may be, and how far a window reaches: in a longer video it
            holds every second, third or further frame. None: as long as ``frames`` last at the
            bundle's sampling rate.
    """

    frames: int = 512
    overlap: int = 256
    seconds: float | None = None


class ScoreCalibration(Entry, frozen=True, kw_only=True):
    """The map from raw scores to probabilities, fitted on labelled moments.

    Attributes:
        raw: Raw scores, ascending; before they are looked up here, the margin of presence is
            added to their log-odds.
        probability: The probability that belongs to each; between them it is linear.
        threshold: Below this probability the answer is "no such moment"; None never says so.
        margin_weight: What a margin of one adds to the log-odds of a raw score.
    """

    raw: tuple[float, ...]
    probability: tuple[float, ...]
    threshold: float | None = None
    margin_weight: float = 0.0


class ReferenceEntry(Entry, frozen=True, kw_only=True):
    """Frames of other videos, in the space that frames and sentences share.

    Attributes:
        file: Path inside the bundle of a safetensors file.
        sha256: Hash of the file's bytes.
    """

    file: str
    sha256: str


class SentenceBankEntry(Entry, frozen=True, kw_only=True):
    """Encoded sentences and nouns that a query is compared with; they need no training.

    Attributes:
        file: Path inside the bundle of a safetensors file: ``sentences`` ``[S, Ds]`` float16,
            ordinary sentences, and ``mean`` ``[Ds]`` float32, the mean of many nouns in many
            templates.
        sha256: Hash of the file's bytes.
        mean_weight: How much of the mean is subtracted from a query of length 1; 0 where frames
            and sentences come from one encoder, so that no gap lies between them.
        threshold: A video shows no such moment if the query stands out from the bank's own
            sentences by less; None never says so.
        reference: Frames that sentences are compared with beside it, where there are some.
    """

    file: str
    sha256: str
    mean_weight: float = 0.5
    threshold: float | None = None
    reference: ReferenceEntry | None = None


class PrecisionBounds(Entry, frozen=True, kw_only=True):
    """How far a precision may be from the PyTorch model in FP32.

    Attributes:
        relative_l2: Most relative error of an output.
        cosine: Least cosine of an output.
        same: Least share of queries whose best moment stays where it was.
        iou: Least mean IoU of old and new best moments.
        drift: Most points that R@m or mIoU may move on labelled data.
    """

    relative_l2: float
    cosine: float
    same: float
    iou: float
    drift: float


class Provenance(Entry, frozen=True, kw_only=True):
    """Where the bundle comes from, and what was measured about it.

    Attributes:
        created_by: Program and version that wrote the bundle.
        visual_encoder: Name of the frame encoder, as ``vtloc.encoders`` takes it.
        text_encoder: Name of the text encoder.
        checkpoint_sha256: Hash of the localizer's checkpoint.
        training_data: What the localizer was trained on.
        localizer: The localizer's configuration, so that its network can be built again.
        accuracy: Measured accuracy, by test set.
        parity: Measured parity with PyTorch, by network and precision.
        bounds: What verifying holds each precision to.
        source_digest: Digest of the manifest that the networks were made again from; empty where
            they come from a checkpoint.
    """

    created_by: str
    visual_encoder: str
    text_encoder: str
    checkpoint_sha256: str
    training_data: str = ""
    localizer: dict[str, Any] = {}
    accuracy: dict[str, Any] = {}
    parity: dict[str, Any] = {}
    bounds: dict[str, PrecisionBounds] = {}
    source_digest: str = ""


class Manifest(Entry, frozen=True, kw_only=True):
    """The whole of ``bundle.json``.

    Attributes:
        schema: Version of this schema; a runtime refuses one that it does not know.
        name: The bundle's name, for people.
        networks: ``visual``, ``text`` and, unless moments are found by similarity alone,
            ``localizer``.
        tokenizer: How sentences become token ids.
        preprocessing: How pictures become frames.
        frames_per_second: How densely videos are sampled.
        routing_iterations: R of the unrolled routing loop; 0 without a localizer.
        shared_space: Where frames and sentences compare, or None where they do not.
        decoding: How logits become moments.
        windows: How long videos are cut.
        score_calibration: From raw scores to probabilities, or None before calibration.
        license: Licence of the weights.
        provenance: Origin and measurements.
        sentence_bank: What queries are compared with, or None where there is none.
    """

    schema: int
    name: str
    networks: dict[NetworkName, NetworkEntry]
    tokenizer: TokenizerEntry
    preprocessing: Preprocessing
    frames_per_second: float
    routing_iterations: int
    shared_space: SharedSpace | None
    decoding: Decoding
    windows: Windows
    score_calibration: ScoreCalibration | None
    license: str
    provenance: Provenance
    sentence_bank: SentenceBankEntry | None = None

    @property
    def network_names(self) -> tuple[NetworkName, ...]:
        """The networks that the bundle has, in the order in which they run."""
        return tuple(name for name in NETWORK_NAMES if name in self.networks)
