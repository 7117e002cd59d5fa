"""Bundles: what a manifest may say, what pins it, and what is never read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import edit_manifest
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE_DIGEST, Bundle
from vtloc_runtime.bundle.engine_file import Engine
from vtloc_runtime.errors import BundleError, EngineError, UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.tensorrt.engine_choice import list_engines

Change = Callable[[dict[str, Any]], None]


def put(*path: str, value: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path
        for name in parents:
            manifest = manifest[name]
        manifest[last] = value

    return change


def calibration(**fields: Any) -> Change:
    return put("score_calibration", value={"raw": [0.0, 1.0], "probability": [0.1, 0.9], **fields})


VISUAL = ("networks", "visual", "variants", "fp32")
BAD_PATHS = (
    "", ".", "..", "a/../../b", "/etc/passwd", "tok\0en", "x" * 300, "a\\b", "a//b",
    "./tokenizer.json", "a\nb", "x/" * 600,
)  # fmt: skip
BAD_VALUES = {
    "rate zero": put("frames_per_second", value=0),
    "rate tiny": put("frames_per_second", value=1e-300),
    "rate huge": put("frames_per_second", value=1e6),
    "side zero": put("preprocessing", "size", value=0),
    "side huge": put("preprocessing", "size", value=100_000),
    "side of another network": put("preprocessing", "size", value=33),
    "routing": put("routing_iterations", value=-1),
    "tokens zero": put("tokenizer", "max_tokens", value=0),
    "tokens huge": put("tokenizer", "max_tokens", value=10**18),
    "padding": put("tokenizer", "pad_id", value=-1),
    "padding huge": put("tokenizer", "pad_id", value=2**63),
    "windows": put("windows", value={"frames": 0, "overlap": 0}),
    "windows huge": put("windows", value={"frames": 2**62, "overlap": 0}),
    "windows overlap": put("windows", value={"frames": 8, "overlap": 8}),
    "windows overlap negative": put("windows", value={"frames": 8, "overlap": -1}),
    "moments without length": put("windows", "seconds", value=0.0),
    "moments of a negative length": put("windows", "seconds", value=-1.0),
    "moments without end": put("windows", "seconds", value=1e300),
    "weight": put("decoding", "similarity_weight", value=1e308),
    "weight negative": put("decoding", "similarity_weight", value=-6.0),
    "space negative": put("shared_space", value={"start": -3, "stop": 0}),
    "space backwards": put("shared_space", value={"start": 3, "stop": 0}),
    "space too wide": put("shared_space", value={"start": 0, "stop": 4}),
    "score above one": calibration(probability=[0.1, 5.0]),
    "score below zero": calibration(probability=[-1.0, 0.5]),
    "scores fall": calibration(probability=[0.9, 0.1]),
    "raw falls": calibration(raw=[1.0, 0.0]),
    "raw repeats": calibration(raw=[1.0, 1.0]),
    "threshold": calibration(threshold=2.0),
    "no precision": put("networks", "text", "variants", value={}),
    "no output": put(*VISUAL, "outputs", value=[]),
    "more inputs": lambda manifest: manifest["networks"]["visual"]["variants"]["fp32"][
        "inputs"
    ].append({"name": "more", "dtype": "int64", "shape": [1]}),
    "dtype": put(*VISUAL, "outputs", value=[{"name": "features", "dtype": "x", "shape": [1, 3]}]),
    "axis": put(
        *VISUAL, "outputs", value=[{"name": "features", "dtype": "float32", "shape": ["b", -3]}]
    ),
    "width": put("networks", "visual", "dims", value={"feature": -1}),
    "hash": put("tokenizer", "sha256", value=""),
    "hash in capitals": lambda manifest: manifest["tokenizer"].update(
        sha256=manifest["tokenizer"]["sha256"].upper()
    ),
    **{f"path {path[:12]!r}": put("tokenizer", "file", value=path) for path in BAD_PATHS},
    "no localizer for joint decoding": lambda manifest: manifest["networks"].pop("localizer"),
    "bank outside the bundle": put(
        "sentence_bank", value={"file": "../bank", "sha256": "0" * 64, "mean_weight": 0.5}
    ),
    "bank's weight": put(
        "sentence_bank", value={"file": "bank", "sha256": "0" * 64, "mean_weight": 1.5}
    ),
    "bank's threshold": put(
        "sentence_bank", value={"file": "bank", "sha256": "0" * 64, "threshold": 1e308}
    ),
    "schema true": put("schema", value=True),
    "schema real": put("schema", value=2.0),
    "schema list": put("schema", value=[]),
}


@pytest.mark.parametrize("change", BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_value_that_cannot_be_meant_is_refused(own_bundle: Path, change: Change) -> None:
    edit_manifest(own_bundle, change)
    with pytest.raises(BundleError) as caught:
        Bundle.open(own_bundle)
    assert caught.value.remedy
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "/dev/null", "/no/such"])
def test_what_is_no_folder_is_no_bundle(path: str) -> None:
    with pytest.raises(BundleError, match=r"there is no such bundle|a bundle is a directory"):
        Bundle.open(path)


@pytest.mark.parametrize("path", [5, "", b"x"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(UsageError, match="not the path"):
        Bundle.open(path)


def test_the_manifest_names_its_bundle(own_bundle: Path) -> None:
    assert Bundle.open(own_bundle / "bundle.json").path == own_bundle


def test_a_bundle_of_links_is_a_bundle(own_bundle: Path, tmp_path: Path) -> None:
    """As in the cache of the Hugging Face Hub: names are links to files named by their hash."""
    snapshot, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    snapshot.mkdir()
    blobs.mkdir()
    for path in own_bundle.iterdir():
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    with Localizer.open(snapshot, threads=1) as localizer:
        assert localizer.bundle.digest == Bundle.open(own_bundle).digest
    # What counts is the content.
    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="altered"):
        Bundle.open(snapshot).tokenizer()


def test_a_huge_file_of_a_bundle_is_not_read(own_bundle: Path) -> None:
    with (own_bundle / "tokenizer.json").open("r+b") as file:
        file.truncate(100 * 2**30)
    with pytest.raises(BundleError, match="more than"):
        Bundle.open(own_bundle).tokenizer()


def test_a_digest_pins_every_file(own_bundle: Path) -> None:
    digest = Bundle.open(own_bundle).digest
    assert Bundle.open(own_bundle, digest=digest.upper()).pinned
    assert Bundle.open(own_bundle, digest=digest.removeprefix("sha256:")).digest == digest
    with Localizer.open(own_bundle, threads=1, digest=digest):
        pass
    # Altered, and its hash in the manifest with it: only the digest tells.
    tokenizer = own_bundle / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    sha256 = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    edit_manifest(own_bundle, put("tokenizer", "sha256", value=sha256))
    assert Bundle.open(own_bundle).tokenizer()
    for open_bundle in (Bundle.open, Localizer.open):
        with pytest.raises(BundleError, match="digest is sha256:"):
            open_bundle(own_bundle, digest=digest)
    with pytest.raises(BundleError, match="digest"):
        Localizer.open(Bundle.open(own_bundle), digest=digest)


def test_the_environment_can_pin_a_bundle(
    own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTLOC_BUNDLE_DIGEST", "sha256:" + "0" * 64)
    with pytest.raises(BundleError, match="not sha256:0000"):
        Localizer.open(own_bundle, threads=1)
    monkeypatch.setenv("VTLOC_BUNDLE_DIGEST", Bundle.open(own_bundle).digest)
    Localizer.open(own_bundle, threads=1).close()


@pytest.mark.parametrize("digest", ["", "abc", "sha1:" + "0" * 40, "sha256:xyz", 5])
def test_what_is_no_digest_is_refused(own_bundle: Path, digest: Any) -> None:
    with pytest.raises(UsageError, match="not the digest"):
        Bundle.open(own_bundle, digest=digest)


def sidecar(content: bytes, **changes: Any) -> bytes:
    fields = {
        "schema": 1,
        "identity": {
            "network": "visual", "precision": "fp16", "onnx_sha256": "0" * 64,
            "flavour": "tensorrt", "version": "11.0", "target": {"sm": "sm80"}, "profiles": [],
            "settings": {},
        },
        "plan": "x.plan",
        "plan_sha256": hashlib.sha256(content).hexdigest(),
        "plan_bytes": len(content),
        "inputs": [], "outputs": [], "build_seconds": 1.0, "created_by": "a test",
    }  # fmt: skip
    return json.dumps({**fields, **changes}).encode()


def test_a_digest_pins_engines_too(own_bundle: Path) -> None:
    engines = own_bundle / "engines"
    engines.mkdir()
    bare = Bundle.open(own_bundle).digest
    (engines / "x.plan").write_bytes(b"plan")
    (engines / "x.json").write_bytes(sidecar(b"plan"))
    bundle = Bundle.open(own_bundle)
    assert bundle.digest != bare
    pinned = Bundle.open(own_bundle, digest=bundle.digest)
    assert list_engines(pinned)[0].read_plan() == b"plan"
    # Another plan with a sidecar of its own, put there after the digest was compared.
    (engines / "x.plan").write_bytes(b"evil")
    (engines / "x.json").write_bytes(sidecar(b"evil"))
    with pytest.raises(EngineError, match="digest pins"):
        list_engines(pinned)
    (engines / "x.json").write_bytes(sidecar(b"plan"))
    with pytest.raises(EngineError, match="altered"):
        list_engines(pinned)[0].read_plan()
    (engines / "y.json").write_bytes(sidecar(b"evil"))
    with pytest.raises(EngineError, match="digest pins"):
        list_engines(pinned)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"schema": true}', b'{"schema": 99}',
        sidecar(b"plan", plan="../x.plan"), sidecar(b"plan", plan="a\0b"),
        sidecar(b"plan", plan=""), sidecar(b"plan", plan_bytes=-1),
        sidecar(b"plan", plan_bytes=3), sidecar(b"plan", plan_sha256="0"),
        sidecar(b"plan", build_seconds=float("inf")), sidecar(b"plan", plan="y" * 300),
    ],
)  # fmt: skip
def test_a_damaged_sidecar_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.plan").write_bytes(b"plan")
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(EngineError, match=r"x\.(json|plan): .* (sidecar|bytes)") as caught:
        Engine.open(tmp_path / "x.json").read_plan()
    assert caught.value.remedy


def test_the_shipped_bundle_is_the_one_that_was_released() -> None:
    """A change of the shipped bundle changes this constant, too."""
    assert Bundle.open().digest == DEFAULT_BUNDLE_DIGEST
