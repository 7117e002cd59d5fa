"""The sidecar of a TensorRT engine; no GPU is needed to read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutation import dump_json, mutate_json, mutate_text
from tests.fuzz.target import Input, Target
from vtloc_runtime.bundle.engine_file import Engine

_PLAN = b"plan" * 100
_SIDECAR: dict[str, Any] = {
    "schema": 1,
    "identity": {
        "network": "visual",
        "precision": "fp16",
        "onnx_sha256": "0" * 64,
        "flavour": "tensorrt",
        "version": "10.13",
        "target": {"sm": "sm80", "gpu": "A", "driver": "580"},
        "profiles": [{"batch": {"min": 1, "opt": 8, "max": 16}}],
        "settings": {
            "workspace": None,
            "optimization_level": 3,
            "tf32": False,
            "frozen_timings": False,
            "timing_cache_sha256": None,
        },
    },
    "plan": "x.plan",
    "plan_sha256": hashlib.sha256(_PLAN).hexdigest(),
    "plan_bytes": len(_PLAN),
    "inputs": [{"name": "frames", "dtype": "uint8", "shape": ["batch", 224, 224, 3]}],
    "outputs": [{"name": "features", "dtype": "float16", "shape": ["batch", 10]}],
    "build_seconds": 1.0,
    "created_by": "tests",
}
_SUFFIX = ".json"


class Sidecars(Target):
    """A sidecar beside a plan that is as it should be."""

    name = "sidecars"
    count = 300

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "x.plan").write_bytes(_PLAN)

    def good(self) -> Sequence[Input]:
        return (Input(json.dumps(_SIDECAR).encode(), _SUFFIX),)

    def known(self) -> Mapping[str, Input]:
        def changed(**fields: Any) -> Input:
            return Input(json.dumps({**_SIDECAR, **fields}).encode(), _SUFFIX)

        return {
            "a plan elsewhere": changed(plan="/etc/passwd"),
            "a plan above": changed(plan="../x.plan"),
            "a NUL in the plan's name": changed(plan="x\0.plan"),
            "a plan's name of 300 characters": changed(plan="x" * 300),
            "a plan of 2^63 bytes": changed(plan_bytes=2**63),
            "a plan of -1 bytes": changed(plan_bytes=-1),
            "brackets": Input(b"[" * 100_000, _SUFFIX),
            "UTF-16": Input(json.dumps(_SIDECAR).encode("utf-16"), _SUFFIX),
        }

    def make(self, chance: Random) -> Input:
        if chance.random() < 0.65:
            return Input(dump_json(chance, mutate_json(chance, _SIDECAR)), _SUFFIX)
        return Input(mutate_text(chance, json.dumps(_SIDECAR).encode()), _SUFFIX)

    def run(self, given: Input) -> None:
        path = self.folder / "x.json"
        path.write_bytes(given.content)
        engine = Engine.open(path)
        assert engine.identity.differences(engine.identity) == ()
        assert engine.read_plan() == _PLAN
