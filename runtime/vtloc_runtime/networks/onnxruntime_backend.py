"""Networks on ONNX Runtime, behind the one contract: on the CPU, and on CUDA by the same code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.bundle.onnx_file import OnnxFile
from vtloc_runtime.errors import BackendError, BundleError, NetworkError
from vtloc_runtime.networks.interface import (
    Array,
    Network,
    TensorSpec,
    check_inputs,
    check_outputs,
    choose_outputs,
)
from vtloc_runtime.networks.late_network import LateNetwork
from vtloc_runtime.networks.onnxruntime_package import (
    ERRORS_ONLY,
    FATAL_ONLY,
    FIRST_WITH_EXTERNAL_DATA,
    import_onnxruntime,
    release,
)
from vtloc_runtime.networks.run_watchdog import RunWatchdog
from vtloc_runtime.system.installation import install_command
from vtloc_runtime.system.processors import (
    INT8_INSTRUCTIONS,
    available_processors,
    processor_instructions,
)
from vtloc_runtime.system.text import first_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkFile, NetworkName, TensorEntry

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
DEFAULT_RUN_TIMEOUT = 300.0
"""Seconds after which a run is stopped; a batch takes seconds at most."""

_watchdog = RunWatchdog()

log = logging.getLogger("vtloc.onnxruntime")

TF32_VARIABLE = "VTLOC_TF32"
"""Set to 1, it lets ONNX Runtime round FP32 products to TF32 on a GPU, which is faster."""


def uses_tf32() -> bool:
    """Whether FP32 on a GPU may be computed in TF32."""
    return os.environ.get(TF32_VARIABLE, "0") == "1"


def load_onnxruntime(
    bundle: Bundle,
    network: NetworkName,
    precision: str,
    device: str = "cpu",
    *,
    threads: int | None = None,
    timeout: float = DEFAULT_RUN_TIMEOUT,
    late: bool = False,
) -> Network:
    """Open a network of a bundle with ONNX Runtime, after its hashes were checked.

    Args:
        bundle: The bundle.
        network: Which network.
        precision: Which of its precisions.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        threads: Threads that one run uses on the CPU; None takes what the process may use.
        timeout: Seconds after which a run is stopped.
        late: Whether to start it with its first run; its hashes are checked now.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: This ONNX Runtime cannot serve the device.
        BundleError: A file is missing, altered, no network, or not what the manifest says.
    """
    file = bundle.variant(network, precision)
    verified = bundle.onnx(file)

    def start() -> Network:
        opened = OnnxRuntimeNetwork(
            network, verified, device=device, threads=threads, timeout=timeout
        )
        _compare_with_manifest(opened, file, where=verified.where)
        return opened

    return LateNetwork(network, f"onnxruntime:{device}", file, start) if late else start()


class OnnxRuntimeNetwork(Network):
    """One graph in one ONNX Runtime session; safe to call from several threads.

    Args:
        name: Which network this is, for messages.
        file: The network; bytes are an ONNX file that needs no other.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        threads: Threads that one run uses on the CPU; None takes what the process may use.
        timeout: Seconds after which a run is stopped. Loading is not bounded.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: This ONNX Runtime cannot serve the device.
        BundleError: The bytes are not a network that ONNX Runtime can load, or name other files.
    """

    def __init__(
        self,
        name: str,
        file: OnnxFile | bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        timeout: float = DEFAULT_RUN_TIMEOUT,
    ) -> None:
        self.name = name
        self._timeout = timeout
        opened = file if isinstance(file, OnnxFile) else OnnxFile(file, where=name)
        self._session: Any = open_session(opened, device, threads)
        self.backend = f"onnxruntime:{device}"
        kind, _, ordinal = device.partition(":")
        self._place = None if kind == "cpu" else (kind, int(ordinal or 0))
        try:
            self.inputs = _specs(self._session.get_inputs())
            self.outputs = _specs(self._session.get_outputs())
        except UnicodeDecodeError as error:
            raise BundleError(
                "an input or output of the network has a name that is not UTF-8 text",
                where=opened.where,
            ) from error

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Compute outputs; on a GPU, only those that are read come back.

        Raises:
            NetworkError: An input is missing, unknown or of another shape, an output is unknown
                or not what the network says, or the run failed or took too long.
        """
        session = self._session
        if session is None:
            raise NetworkError("the network is closed", where=self.name)
        check_inputs(self.inputs, inputs, network=self.name)
        read = choose_outputs(self.outputs, outputs, network=self.name)
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        options = _run_options()
        with _watchdog.watch(self._timeout, partial(setattr, options, "terminate", True)) as watch:
            try:
                results = self._compute(session, feeds, list(read), options)
            except Exception as error:
                if watch.expired:
                    raise NetworkError(
                        f"the run was stopped after {self._timeout:g} s",
                        where=self.name,
                        remedy="Take smaller batches, or give it more time",
                    ) from error
                raise NetworkError(
                    f"the run failed: {first_line(error)}", where=self.name
                ) from error
        found = dict(zip(read, results, strict=True))
        check_outputs(read, found, self.inputs, inputs, network=self.name)
        return found

    def _compute(
        self, session: Any, feeds: dict[str, Array], read: list[str], options: Any
    ) -> list[Array]:
        results: list[Array]
        if self._place is None:
            results = session.run(read, feeds, options)
            return results
        # Outputs stay on the GPU until all are computed, and only those that are read come back.
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for name in read:
            binding.bind_output(name, *self._place)
        session.run_with_iobinding(binding, options)
        results = binding.copy_outputs_to_cpu()
        return results

    def close(self) -> None:
        """Free the session; a second call does nothing."""
        self._session = None


def _run_options() -> Any:
    import onnxruntime

    return onnxruntime.RunOptions()


def session_options(file: OnnxFile | None = None) -> Any:
    """Options of a session that reads no file but those that were verified.

    Args:
        file: The network; it must live until the session is open. None for a file of one's own.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    options = import_onnxruntime(extra="cpu", purpose="the onnxruntime backend").SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Else the bytes themselves decide, and ONNX Runtime's own format names files elsewhere.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if not INT8_INSTRUCTIONS & set(processor_instructions()):
        # Else INT8 products overflow 16 bits on x86 and give wrong answers. Where they do not
        # overflow, this way around it takes three times as long.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if file is not None and file.external:
        _require_safe_external_data(file)
        options.add_external_initializers_from_files_in_memory(
            list(file.external),
            list(file.external.values()),
            [len(content) for content in file.external.values()],
        )
    return options


def _require_safe_external_data(file: OnnxFile) -> None:
    """Refuse releases of ONNX Runtime that may read other files than those that were verified."""
    import onnxruntime

    found = onnxruntime.__version__
    if release(found) < FIRST_WITH_EXTERNAL_DATA:
        raise BackendError(
            f"the network keeps its weights in files of their own, and ONNX Runtime {found} may "
            "read others in their place",
            where=file.where,
            remedy="Use ONNX Runtime 1.27 or later (on GPUs it needs CUDA 13: "
            f"{install_command('gpu-cu13')}), or export the bundle again with smaller encoders",
        )


def open_session(file: OnnxFile | Path, device: str, threads: int | None = None) -> Any:
    """Open a session of ONNX Runtime that serves one device and no other.

    Args:
        file: The network; a path only to a file of one's own, for whatever files it names are read.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        threads: Threads that one run uses on the CPU; None takes what the process may use.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        BackendError: This ONNX Runtime cannot serve the device.
        BundleError: ONNX Runtime cannot load the network.
    """
    onnxruntime = import_onnxruntime(extra="cpu", purpose="the onnxruntime backend")
    providers = _providers(onnxruntime, device)
    where = file.where if isinstance(file, OnnxFile) else file
    options = session_options(file if isinstance(file, OnnxFile) else None)
    options.intra_op_num_threads = threads or available_processors()
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the processor from the decoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = _start(onnxruntime, file, options, providers)
    except Exception as error:
        if device != "cpu":
            raise BackendError(
                f"ONNX Runtime could not start on {device}: {first_line(error)}", where=where
            ) from error
        raise BundleError(
            f"ONNX Runtime cannot load the network: {first_line(error)}",
            where=where,
            remedy="Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE",
        ) from error
    session.disable_fallback()
    session._model_bytes = None  # Kept for that fall-back: all weights once more.
    wanted, found = providers[0][0], session.get_providers()
    if found[0] != wanted:
        raise BackendError(
            f"asked for {wanted}, ONNX Runtime gave {', '.join(found)}",
            where=device,
            remedy="The CUDA libraries are missing, or built for another driver: "
            f"{install_command('gpu')}; vtloc-run doctor says more",
        )
    return session


def _start(
    onnxruntime: Any,
    file: OnnxFile | Path,
    options: Any,
    providers: list[tuple[str, dict[str, Any]]],
) -> Any:
    """A session; one without ONNX Runtime's fusions where those break a sound graph.

    Some of them fail on FP16: splitting attention's query, key and value as MobileCLIP does it.
    """
    model = file.content if isinstance(file, OnnxFile) else file
    # With its own fall-back, it would try other providers and print that on standard output.
    start = partial(
        onnxruntime.InferenceSession, model, options, providers=providers, enable_fallback=0
    )
    # What fails is raised; printed too, it would alarm where the second try succeeds.
    options.log_severity_level = FATAL_ONLY
    try:
        return start()
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no other class
        options.log_severity_level = ERRORS_ONLY
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        session = start()
        where = file.where if isinstance(file, OnnxFile) else file
        log.info("%s runs without fusions: %s", where, first_line(error))
        return session


def _providers(onnxruntime: Any, device: str) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers for a device; the first is the one that must serve."""
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if device == "cpu":
        return [cpu]
    kind, _, ordinal = device.partition(":")
    if kind != "cuda" or not (ordinal.isdigit() or device == "cuda"):
        raise BackendError(
            f"the device {device!r} is unknown", remedy="Choose cpu, cuda, or cuda:N"
        )
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise BackendError(
            f"this ONNX Runtime has no CUDA; it offers {', '.join(available)}",
            where=device,
            remedy=f"Replace it: pip uninstall onnxruntime; {install_command('gpu')}",
        )
    if hasattr(onnxruntime, "preload_dlls"):
        # Finds the CUDA libraries that pip installed, which the loader would not.
        # It prints what it does not find, and standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            onnxruntime.preload_dlls()
    settings = {
        "device_id": int(ordinal or 0),
        # TF32 makes FP32 answers differ from the CPU's; turn it on for its speed.
        "use_tf32": int(uses_tf32()),
        # An exhaustive search would time every convolution again for each new batch size.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Doubling arenas take twice what changing shapes need.
        "arena_extend_strategy": "kSameAsRequested",
    }
    # Shape arithmetic stays on the CPU; that is where it is fastest.
    return [("CUDAExecutionProvider", settings), cpu]


def _specs(arguments: Any) -> dict[str, TensorSpec]:
    specs = {}
    for argument in arguments:
        shape = tuple(
            axis if isinstance(axis, int) else str(axis or f"axis {index}")
            for index, axis in enumerate(argument.shape)
        )
        dtype = _DTYPES.get(argument.type, argument.type)
        specs[argument.name] = TensorSpec(argument.name, dtype, shape)
    return specs


def _compare_with_manifest(
    network: OnnxRuntimeNetwork, file: NetworkFile, *, where: object
) -> None:
    pairs = ((network.inputs, file.inputs, "input"), (network.outputs, file.outputs, "output"))
    for specs, entries, kind in pairs:
        declared = {entry.name: entry for entry in entries}
        if specs.keys() != declared.keys():
            raise BundleError(
                f"the network's {kind}s are {sorted(specs)}, the manifest says {sorted(declared)}",
                where=where,
            )
        for name, spec in specs.items():
            if not _agree(spec, declared[name]):
                entry = declared[name]
                raise BundleError(
                    f"{kind} {name!r} is {spec.dtype} {spec.shape}, "
                    f"the manifest says {entry.dtype} {entry.shape}",
                    where=where,
                )


def _agree(spec: TensorSpec, entry: TensorEntry) -> bool:
    """Same dtype and rank, and no axis that both fix, to different lengths."""
    return (
        spec.dtype == entry.dtype
        and len(spec.shape) == len(entry.shape)
        and all(
            one == other
            for one, other in zip(spec.shape, entry.shape, strict=True)
            if isinstance(one, int) and isinstance(other, int)
        )
    )
