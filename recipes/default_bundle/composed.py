"""Answers about composed timelines: what scores are calibrated on where no video is labelled.

Only the default bundle's encoders know how pictures of a class lie in feature space, so only a
bundle on those encoders can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recipes.default_bundle.composition import Composer
from recipes.default_bundle.prototypes import ClassPrototypes
from recipes.default_bundle.recipe import Recipe
from recipes.default_bundle.source import TEXT_ENCODER, VISUAL_ENCODER, Encoders
from recipes.default_bundle.vocabulary import Split, load_vocabulary
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.answers import ask_encoded
from vtloc_calibration.scores.labelled import LabelledQuery
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames

if TYPE_CHECKING:
    from vtloc_calibration.scores.answers import Answers
    from vtloc_runtime.localize.localizer import Localizer

SPLITS: tuple[Split, ...] = ("training", "held-out")
"""Words that the localizer was taught, and words that it never met: both are asked for."""

REFERENCE_FRAMES = 512

_FRAMES = (20, 60)
_FRAMES_OF_ONE = 4
_REFERENCE_SEED = 1


@dataclass(frozen=True, slots=True)
class ComposedVideos:
    """Composes timelines with the default bundle's encoders.

    Attributes:
        encoders: Turn pooled activations into features.
        recipe: How timelines are composed.
    """

    encoders: Encoders
    recipe: Recipe

    @classmethod
    def load(cls, bundle_encoders: tuple[str, str]) -> ComposedVideos:
        """Load the encoders and the recipe of the default bundle.

        Args:
            bundle_encoders: Names of the bundle's frame and text encoders.

        Raises:
            CalibrationError: The bundle has other encoders.
            VtlocError: The encoders cannot be loaded.
        """
        if bundle_encoders != (VISUAL_ENCODER, TEXT_ENCODER):
            raise CalibrationError(
                f"timelines are composed for {VISUAL_ENCODER} and {TEXT_ENCODER}, "
                f"not for {' and '.join(bundle_encoders)}",
                remedy="Give labelled videos: vtloc-calibrate scores --labels --videos",
            )
        return cls(Encoders.load(), Recipe.read(None))

    def videos(
        self, split: Split, count: int, *, absent: bool, seed: int
    ) -> Iterator[tuple[EncodedVideo, LabelledQuery]]:
        """Timelines as encoded videos, one frame a second, each with its sentence.

        Args:
            split: Whose words are asked for.
            count: How many.
            absent: Whether nothing in them answers the sentence.
            seed: Of everything that is drawn.
        """
        composer = Composer(
            ClassPrototypes.from_encoder(self.encoders.visual),
            load_vocabulary(split),
            split,
            replace(self.recipe.composition, absent=float(absent), frames=_FRAMES),
            self.recipe.footage,
        )
        rng = np.random.default_rng((seed, SPLITS.index(split), int(absent)))
        for number in range(count):
            timeline = composer.compose(rng)
            features = self.encoders.features(timeline.pooled)
            name = f"{split} {'absent' if absent else 'present'} {number}"
            windows = tuple((float(first), float(last + 1)) for first, last in timeline.moments)
            yield (
                EncodedVideo(features, np.arange(float(len(features))), float(len(features))),
                LabelledQuery(Path(name), name, timeline.sentence, windows),
            )

    def reference(self) -> ReferenceFrames:
        """Frames of timelines that nothing is asked about."""
        start, stop = self.encoders.shared_space
        rows = []
        for encoded, _ in self.videos(
            "training", REFERENCE_FRAMES // _FRAMES_OF_ONE, absent=False, seed=_REFERENCE_SEED
        ):
            places = np.linspace(0, len(encoded) - 1, _FRAMES_OF_ONE).round().astype(np.int64)
            rows.append(encoded.features[places, start:stop])
        return ReferenceFrames.from_features(np.concatenate(rows))


def ask_composed(
    localizer: Localizer,
    composed: ComposedVideos,
    *,
    count: int = 400,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Ask a bundle about timelines, in each split so many that answer and so many that do not.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        composed: Composes the timelines.
        count: Timelines of each kind.
        seed: Of everything that is drawn.
        progress: Called with the number of timelines done.
    """

    def asked() -> Iterator[tuple[EncodedVideo, Sequence[LabelledQuery]]]:
        done = 0
        for split in SPLITS:
            for absent in (False, True):
                for encoded, query in composed.videos(split, count, absent=absent, seed=seed):
                    yield encoded, (query,)
                    done += 1
                    if progress is not None:
                        progress(done)

    return ask_encoded(localizer, asked())
