"""Traffic becomes profiles: ranges are read exactly, and nonsense is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_export.engines.profiles import (
    check_traffic,
    default_traffic,
    network_profiles,
    parse_range,
    parse_traffic,
)
from vtloc_runtime.bundle.engine_file import AxisRange
from vtloc_runtime.errors import UsageError


@given(st.lists(st.integers(1, 10_000), min_size=3, max_size=3).map(sorted))
def test_a_range_reads_as_it_is_written(numbers: list[int]) -> None:
    low, tuned, high = numbers
    span = parse_range(f"{low}:{tuned}:{high}", option="--batch")
    assert (span.min, span.opt, span.max) == (low, tuned, high)


def test_one_number_is_a_fixed_length() -> None:
    assert parse_range("8", option="--batch") == AxisRange(min=8, opt=8, max=8)


@pytest.mark.parametrize(
    "text", ["", "a", "1:2", "1:2:3:4", "0:1:2", "3:2:1", "1:5:4", "-1:1:1", "1.5"]
)
def test_what_is_no_range_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(UsageError, match="--frames"):
        parse_range(text, option="--frames")


def test_a_profile_overrides_the_axes_it_names(bundle) -> None:
    base = default_traffic(bundle)
    traffic = parse_traffic("batch=1:2:4, tokens=3", base)
    assert traffic["batch"] == AxisRange(min=1, opt=2, max=4)
    assert traffic["tokens"] == AxisRange(min=3, opt=3, max=3)
    assert traffic["frames"] == base["frames"]


@pytest.mark.parametrize("text", ["size=1:2:3", "batch=1,batch=2", "batch", "batch=x", ","])
def test_a_malformed_profile_is_refused(bundle, text: str) -> None:
    with pytest.raises(UsageError, match="--profile"):
        parse_traffic(text, default_traffic(bundle))


def test_the_default_traffic_is_what_the_bundle_can_serve(bundle) -> None:
    traffic = default_traffic(bundle)
    assert traffic["frames"].max == bundle.manifest.windows.frames
    assert traffic["tokens"].max == bundle.manifest.tokenizer.max_tokens
    check_traffic(bundle, [traffic])


def test_more_tokens_than_the_text_network_takes_are_refused(bundle) -> None:
    traffic = parse_traffic("tokens=1:8:17", default_traffic(bundle))
    with pytest.raises(UsageError, match="at most 16 tokens, not 17"):
        check_traffic(bundle, [traffic])


def test_a_network_gets_its_own_axes_and_no_profile_twice(bundle) -> None:
    base = default_traffic(bundle)
    traffic = [parse_traffic(f"frames=1:4:{most}", base) for most in (8, 16)]
    visual = network_profiles(bundle.variant("visual", "fp16").inputs, traffic)
    localizer = network_profiles(bundle.variant("localizer", "fp16").inputs, traffic)
    assert [sorted(profile) for profile in visual] == [["batch"]]
    assert [profile["frames"].max for profile in localizer] == [8, 16]


def test_an_axis_nobody_spoke_of_is_refused(bundle) -> None:
    inputs = bundle.variant("text", "fp16").inputs
    with pytest.raises(UsageError, match="no range is known for the axis tokens"):
        network_profiles(inputs, [{"batch": AxisRange(min=1, opt=1, max=1)}])
