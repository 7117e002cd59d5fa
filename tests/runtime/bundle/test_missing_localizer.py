"""Bundles of two encoders that share a space, without a localizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.bundle.test_bundle import Change, put
from tests.support.colours import edit_manifest, write_colour_bundle
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError, UsageError
from vtloc_runtime.localize.localizer import Localizer


@pytest.fixture
def encoders(tmp_path: Path) -> Path:
    return write_colour_bundle(tmp_path / "encoders", localizer=False)


def test_it_says_which_networks_it_has(encoders: Path) -> None:
    assert Bundle.open(encoders).manifest.network_names == ("visual", "text")


def test_it_finds_moments_by_similarity(encoders: Path, colour_video: Path) -> None:
    with Localizer.open(encoders, threads=1) as localizer:
        best = localizer.localize(colour_video, "green").best
    assert best is not None
    assert (best.start, best.end) == pytest.approx((4, 7), abs=0.2)


@pytest.mark.parametrize("decoding", ["joint", "combined", "argmax", "soft"])
def test_decoding_that_needs_a_localizer_is_refused_at_once(encoders: Path, decoding: str) -> None:
    with pytest.raises(UsageError, match=f"no localizer network, which decoding by {decoding}"):
        Localizer.open(encoders, threads=1, decoding=decoding)


def test_it_has_no_alignment(encoders: Path, colour_video: Path) -> None:
    with (
        Localizer.open(encoders, threads=1) as localizer,
        pytest.raises(UsageError, match="which the alignment comes from"),
    ):
        localizer.localize(colour_video, "green", alignment=True)


def test_a_network_that_it_lacks_is_an_error_of_the_bundle(encoders: Path) -> None:
    with pytest.raises(BundleError, match="no localizer network"):
        Bundle.open(encoders).variant("localizer", "fp32")


FAULTS: dict[str, tuple[Change, str]] = {
    "no shared space": (put("shared_space", value=None), "no space in which frames"),
    "decoding by joint": (
        put("decoding", value={"strategy": "joint"}),
        "which decoding by joint needs",
    ),
    "routing": (put("routing_iterations", value=3), "routing_iterations is 0, not 3"),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_manifest_that_needs_a_localizer_is_refused(
    encoders: Path, change: Change, message: str
) -> None:
    edit_manifest(encoders, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(encoders)


@pytest.mark.parametrize("name", ["visual", "text"])
def test_both_encoders_are_needed(encoders: Path, name: str) -> None:
    def remove(manifest: dict[str, Any]) -> None:
        del manifest["networks"][name]

    edit_manifest(encoders, remove)
    with pytest.raises(BundleError, match=f"no {name} network"):
        Bundle.open(encoders)
