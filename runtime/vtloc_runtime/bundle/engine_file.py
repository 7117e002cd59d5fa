"""TensorRT engines inside a bundle: the sidecar's schema, its identity, and reading plans safely.

A plan is a plain ``.plan`` file, as TensorRT writes it, so that NVIDIA's own tools take it. What
it was made from, for which machine and with which settings is in a JSON file beside it of the
same name. Nothing is deserialized before its hash was checked against that file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from vtloc_runtime.bundle.manifest import Entry, NetworkName, TensorEntry
from vtloc_runtime.bundle.manifest_check import path_fault
from vtloc_runtime.errors import EngineError
from vtloc_runtime.system.untrusted_json import convert, decode_json, read_file

if TYPE_CHECKING:
    from pathlib import Path


ENGINE_SCHEMA_VERSION = 1
PLAN_SUFFIX = ".plan"
SIDECAR_SUFFIX = ".json"
LOG_SUFFIX = ".log"

Flavour = Literal["tensorrt", "tensorrt-rtx"]


class AxisRange(Entry, frozen=True):
    """The lengths that one dynamic axis takes in a profile.

    Attributes:
        min: Smallest length.
        opt: The length that the engine is tuned for.
        max: Largest length.
    """

    min: int
    opt: int
    max: int


class EngineTarget(Entry, frozen=True):
    """The machine that an engine is for.

    Attributes:
        sm: Compute capability, such as ``"sm80"``.
        gpu: The GPU's name; None for an engine built ahead of time, which serves the whole SM.
        driver: The driver's version; None for an engine built ahead of time.
    """

    sm: str
    gpu: str | None = None
    driver: str | None = None


class EngineSettings(Entry, frozen=True):
    """The settings of the builder.

    Attributes:
        workspace: Most device memory that a layer may use while running, bytes; None: no limit.
        optimization_level: 0 (fast build) to 5 (longest search); TensorRT's own default is 3.
        tf32: Whether FP32 products may be rounded to TF32.
        frozen_timings: Whether every tactic came out of the timing cache.
        timing_cache_sha256: Hash of the timing cache the build started from, where it was frozen.
    """

    workspace: int | None = None
    optimization_level: int = 3
    tf32: bool = False
    frozen_timings: bool = False
    timing_cache_sha256: str | None = None


class EngineIdentity(Entry, frozen=True):
    """Everything that decides what a plan holds: two plans of one identity do the same work.

    Attributes:
        network: Which network of the bundle it is.
        precision: Which of its variants it was built from.
        onnx_sha256: Hash of that variant's ONNX file.
        flavour: The builder: TensorRT, or TensorRT-RTX ahead of time.
        version: The builder's version.
        target: The machine it is for.
        profiles: For each optimization profile, the range of every dynamic axis.
        settings: The settings of the builder.
    """

    network: NetworkName
    precision: str
    onnx_sha256: str
    flavour: Flavour
    version: str
    target: EngineTarget
    profiles: tuple[dict[str, AxisRange], ...]
    settings: EngineSettings

    def differences(self, other: EngineIdentity) -> tuple[str, ...]:
        """What separates two identities, as "field: theirs, not ours", deepest fields first."""
        ours, theirs = _flat(msgspec.to_builtins(self)), _flat(msgspec.to_builtins(other))
        return tuple(
            f"{name}: {theirs.get(name)}, not {ours.get(name)}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        )


class EngineSidecar(Entry, frozen=True):
    """The JSON file beside a plan.

    Attributes:
        schema: Version of this schema; a runtime refuses one that it does not know.
        identity: What the plan is.
        plan: The plan's file name, in the same folder.
        plan_sha256: Hash of the plan's bytes.
        plan_bytes: The plan's size.
        inputs: What the network takes, with the names of its dynamic axes.
        outputs: What it gives.
        build_seconds: How long the build took.
        created_by: Program and version that wrote it.
    """

    schema: int
    identity: EngineIdentity
    plan: str
    plan_sha256: str
    plan_bytes: int
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    build_seconds: float
    created_by: str


@dataclass(frozen=True, slots=True)
class Engine:
    """A plan and what its sidecar says about it.

    Attributes:
        sidecar_path: Where the sidecar lies.
        sidecar: What it says.
    """

    sidecar_path: Path
    sidecar: EngineSidecar

    @property
    def identity(self) -> EngineIdentity:
        """What the plan is."""
        return self.sidecar.identity

    @property
    def plan_path(self) -> Path:
        """Where the plan lies: always beside its sidecar."""
        return self.sidecar_path.with_name(self.sidecar.plan)

    @classmethod
    def open(cls, sidecar_path: Path, *, sha256: str | None = None) -> Engine:
        """Read a sidecar; the plan stays unread.

        Args:
            sidecar_path: Where the sidecar lies.
            sha256: The hash that the sidecar must have; None takes any.

        Raises:
            EngineError: The sidecar is unreadable, altered, of an unknown schema, or names a plan
                that is not beside it.
        """
        return cls(sidecar_path, _read_sidecar(sidecar_path, sha256))

    def read_plan(self) -> bytes:
        """The plan's bytes, once their hash was found to be right.

        Raises:
            EngineError: The plan is missing, unreadable or altered.
        """

        def fail(what: str) -> EngineError:
            return EngineError(what, where=self.plan_path, remedy=_build_again(self.identity))

        plan = read_file(self.plan_path, fail=fail, limit=self.sidecar.plan_bytes)
        found = hashlib.sha256(plan).hexdigest()
        if found != self.sidecar.plan_sha256:
            raise fail(
                f"the plan was altered: its sha256 is {found[:12]}…, "
                f"the sidecar says {self.sidecar.plan_sha256[:12]}…"
            )
        return plan


def engine_stem(network: str, precision: str, flavour: Flavour, target: EngineTarget) -> str:
    """The file name, without suffix, of an engine for a machine.

    One name a network, precision, builder and machine, so that a bundle on shared storage serves
    several kinds of GPU, and a rebuild replaces just what it is meant to.
    """
    parts = [network, precision, target.sm]
    if flavour == "tensorrt-rtx":
        parts.append("rtx")
    if target.gpu is not None:
        parts.append("".join(c if c.isalnum() else "-" for c in target.gpu.lower()).strip("-"))
    return "-".join(parts)


def _build_again(identity: EngineIdentity) -> str:
    return (
        f"Build it again with: vtloc-export trt BUNDLE --network {identity.network} "
        f"--target {identity.target.sm} --precision {identity.precision} --force"
    )


def _read_sidecar(path: Path, sha256: str | None) -> EngineSidecar:
    def fail(what: str) -> EngineError:
        return EngineError(
            f"the engine's sidecar: {what}",
            where=path,
            remedy="Delete the engine and build it again with: vtloc-export trt BUNDLE",
        )

    content = read_file(path, fail=fail)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise fail("it is not among the files that the bundle's digest pins")
    fields = decode_json(content, dict[str, Any], fail=fail)
    version = fields.get("schema")
    if type(version) is not int or version != ENGINE_SCHEMA_VERSION:
        raise EngineError(
            f"the sidecar has schema {version!r:.40}; this version reads {ENGINE_SCHEMA_VERSION}",
            where=path,
            remedy="Use the vtloc that built the engine, or build it again",
        )
    sidecar = convert(fields, EngineSidecar, fail=fail)
    if "/" in sidecar.plan or path_fault(sidecar.plan):
        raise fail(f"it names the plan {sidecar.plan[:80]!r}, which is not beside it")
    if not sidecar.plan_bytes > 0:
        raise fail(f"it says that the plan has {sidecar.plan_bytes} bytes")
    return sidecar


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        items: list[tuple[str, Any]] = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: str(value)}
    flat: dict[str, str] = {}
    for name, item in items:
        flat.update(_flat(item, f"{prefix}.{name}" if prefix else name))
    return flat
