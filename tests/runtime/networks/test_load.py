"""Networks by backend, device and precision: what was asked, or an error that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import edit_manifest
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BackendError, BundleError, VtlocError
from vtloc_runtime.networks.load import (
    Placement,
    open_network,
    preferred_precision,
    resolve_device,
)


def test_an_unknown_backend_names_the_choices(colour_bundle: Path) -> None:
    with pytest.raises(BackendError, match="'openvino' is unknown") as caught:
        open_network(Bundle.open(colour_bundle), "text", backend="openvino")
    assert "onnxruntime or tensorrt" in str(caught.value)


def test_each_backend_has_a_device_of_its_own() -> None:
    assert resolve_device("onnxruntime", None) == "cpu"
    assert resolve_device("onnxruntime", "cuda:1") == "cuda:1"
    assert resolve_device("tensorrt", None) == "cuda"


@pytest.mark.parametrize(
    ("backend", "device"), [("tensorrt", "cpu"), ("onnxruntime", "tpu"), ("tensorrt", "cuda:a")]
)
def test_a_device_that_a_backend_does_not_run_on_is_refused(backend: str, device: str) -> None:
    with pytest.raises(BackendError, match="does not run on"):
        resolve_device(backend, device)


def test_a_precision_that_the_bundle_lacks_is_refused(colour_bundle: Path) -> None:
    with pytest.raises(BundleError, match="comes in fp16, fp32, not int8"):
        open_network(Bundle.open(colour_bundle), "text", precision="int8")


def test_the_device_decides_the_precision_unless_it_is_asked_for(colour_bundle: Path) -> None:
    bundle = Bundle.open(colour_bundle)
    assert preferred_precision(bundle, "text", backend="onnxruntime", device="cpu") == "fp32"
    assert preferred_precision(bundle, "text", backend="onnxruntime", device="cuda") == "fp16"
    with open_network(bundle, "text", precision="fp16") as network:
        assert network.outputs["tokens"].dtype == "float16"


def test_a_placement_says_what_runs_where(colour_bundle: Path) -> None:
    bundle = Bundle.open(colour_bundle)
    placement = Placement.choose(bundle)
    assert (placement.backend, placement.device) == ("onnxruntime", "cpu")
    assert placement.precisions == dict.fromkeys(("visual", "text", "localizer"), "fp32")
    gpu = Placement.choose(bundle, device="cuda")
    assert gpu.precisions["text"] == "fp16"
    assert gpu.hashes(bundle)["text"] == bundle.variant("text", "fp16").sha256
    with pytest.raises(BundleError, match="comes in fp16, fp32, not int8"):
        Placement.choose(bundle, precision="int8")


def test_a_bundle_without_any_usable_precision_is_refused(own_bundle: Path) -> None:
    edit_manifest(own_bundle, lambda manifest: manifest["networks"]["text"].update(variants={}))
    with pytest.raises(BundleError, match="no precision"):
        open_network(Bundle.open(own_bundle), "text")


def test_tensorrt_is_an_error_where_it_cannot_serve(colour_bundle: Path) -> None:
    # Which one depends on the machine: no package, no GPU, or no engine for it.
    with pytest.raises(VtlocError, match=r"GPU|TensorRT|engine"):
        open_network(Bundle.open(colour_bundle), "text", backend="tensorrt")
