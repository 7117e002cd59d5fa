"""What the doctor finds, on machines as they are met."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import pytest

from tests.support import nvdec_double, small_bundle, tensorrt_double
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.diagnosis import decoding, installation
from vtloc_runtime.cli.diagnosis.bundle import engines
from vtloc_runtime.cli.diagnosis.diagnosis import diagnose
from vtloc_runtime.cli.diagnosis.findings import Diagnosis, Finding
from vtloc_runtime.cli.main import main
from vtloc_runtime.system import nvidia_driver


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    for module in (nvidia_driver, installation, decoding):
        monkeypatch.setattr(module, "installed_version", versions.get)


def finding(diagnosis: Diagnosis, subject: str) -> Finding:
    return next(found for found in diagnosis.findings if found.subject == subject)


def test_it_tries_every_backend_on_the_bundle(colour_bundle: Path) -> None:
    diagnosis = diagnose(colour_bundle)
    assert diagnosis.serves
    services = {(s.backend, s.device): s for s in diagnosis.services}
    assert services["onnxruntime", "cpu"].serves
    assert set(services) == {
        ("onnxruntime", "cpu"),
        ("onnxruntime", "cuda"),
        ("tensorrt", "cuda"),
    }
    assert all(service.detail for service in services.values())
    assert finding(diagnosis, "bundle").state == "ok"
    assert finding(diagnosis, "video decoding").state == "ok"


def test_two_builds_of_onnxruntime_are_a_problem(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, {"onnxruntime": "1.0", "onnxruntime-gpu": "1.0"})
    found = finding(diagnose(colour_bundle), "onnxruntime")
    assert found.state == "problem"
    assert "overwrite" in found.detail
    assert "uninstall" in found.remedy


def test_what_is_not_installed_names_its_extra(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, {})
    diagnosis = diagnose(colour_bundle)
    for subject, extra in (
        ("onnxruntime", "cpu"),
        ("tensorrt", "tensorrt-cu13"),
        ("matplotlib", "plot"),
    ):
        found = finding(diagnosis, subject)
        assert found.state == "absent"
        assert f"[{extra}]" in found.remedy


def test_a_missing_driver_is_no_problem_where_no_gpu_is_wanted(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert finding(diagnose(colour_bundle), "NVIDIA driver").state == "absent"


def test_an_altered_bundle_is_named(own_bundle: Path) -> None:
    (own_bundle / "text.fp16.onnx").write_bytes(b"altered")
    diagnosis = diagnose(own_bundle)
    assert not diagnosis.serves
    assert finding(diagnosis, "bundle").state == "problem"
    assert "text.fp16.onnx" in finding(diagnosis, "bundle").detail


def test_the_command_prints_tables_or_json(
    colour_bundle: Path, own_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["doctor", "-b", str(colour_bundle)])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown
    assert "yes" in shown
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json", "-b", str(colour_bundle)])
    assert left.value.code == 0
    assert {s["backend"] for s in json.loads(capsys.readouterr().out)["services"]} == {
        "onnxruntime",
        "tensorrt",
    }
    (own_bundle / "bundle.json").write_text("{}")
    with pytest.raises(SystemExit) as left:
        main(["doctor", "-b", str(own_bundle)])
    assert left.value.code == 5


def test_decoding_on_the_gpu_is_tried(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"pynvvideocodec": "2.2.4"})
    with nvdec_double.installed():
        found = finding(diagnose(colour_bundle), "GPU decoding")
        assert found.state == "ok"
        assert (
            "NVDEC answers; 10 sessions in one process, at most 1.2 GB with 1080p" in found.detail
        )
    with nvdec_double.installed(tensorrt_double.Gpu(ordinal=1)):
        found = finding(diagnose(colour_bundle), "GPU decoding")
        assert found.state == "absent"
        assert "no NVDEC answers on GPU 0" in found.detail
    installed(monkeypatch, {})
    assert "[decode-gpu-cu13]" in finding(diagnose(colour_bundle), "GPU decoding").remedy


CUDA_12 = {"tensorrt-cu12": "11.4.0", "cuda-core": "1.2.2", "cuda-bindings": "12.9.6"}
CUDA_13 = {"tensorrt-cu13": "11.4.0", "cuda-core": "1.2.2", "cuda-bindings": "13.5.0"}


@pytest.mark.parametrize(
    ("driver", "packages", "said"),
    [
        ((13, 0), CUDA_13, []),
        ((13, 0), CUDA_12, []),
        ((12, 2), CUDA_12, []),
        ((12, 2), CUDA_13, ["[tensorrt-cu12]", "[tensorrt-cu12]"]),
        ((12, 8), {"onnxruntime-gpu": "1.31.1"}, ["[gpu-cu12]"]),
        ((12, 8), {"onnxruntime-gpu": "1.26.0"}, []),
        ((12, 0), CUDA_12, ["Update the driver to 535 or later"]),
        ((13, 0), CUDA_12 | CUDA_13, ["[tensorrt-cu13]"]),
        (None, CUDA_13, []),
    ],
)
def test_packages_for_another_cuda_than_the_driver_s_are_named(
    colour_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: tuple[int, int] | None,
    packages: dict[str, str],
    said: list[str],
) -> None:
    installed(monkeypatch, packages)
    monkeypatch.setattr(nvidia_driver, "cuda_version", lambda: driver)
    monkeypatch.setattr(installation, "cuda_version", lambda: driver)
    problems = [found for found in installation.cuda_mismatches() if found.state == "problem"]
    assert len(problems) == len(said)
    for found, remedy in zip(problems, said, strict=True):
        assert remedy in found.remedy


def test_every_extra_that_an_error_may_name_exists() -> None:
    import tomllib

    root = Path(__file__).parents[3]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in ("tensorrt", "gpu", "decode-gpu"):
        assert {extra, f"{extra}-cu12", f"{extra}-cu13"} <= extras.keys()
    for name, requirements in extras.items():
        for requirement in requirements:
            if (
                requirement.startswith(("tensorrt-cu", "cuda-core", "onnxruntime-gpu"))
                and name != "dev"
            ):
                assert "<" in requirement, f"{name} takes any later {requirement}"
            # A package of one CUDA is never beside a package of the other.
            assert not (name.endswith("-cu12") and "cu13" in requirement)
            assert not (name.endswith("-cu13") and "cu12" in requirement)


def test_engines_compiled_ahead_of_time_are_called_that(tmp_path: Path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with tensorrt_double.installed(rtx=True) as gpu:
        gpu.current.ordinal = gpu.ordinal
        build_engines(bundle, EngineOptions("sm80", backend="tensorrt-rtx", networks=("text",)))
    found = finding(diagnose(bundle.path), "engines")
    assert found.state == "ok"
    assert "those named rtx were compiled ahead of time, for RTX GPUs" in found.detail


def test_the_bundle_that_ships_is_told_how_engines_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = engines(Bundle.open())
    assert found.state == "absent"
    assert "vtloc-export trt" in found.remedy
