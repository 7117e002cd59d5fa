"""What the doctor finds, on machines as they are met."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.support import nvdec_double, tensorrt_double
from vtloc_runtime.cli import diagnosis as doctor
from vtloc_runtime.cli.diagnosis import Diagnosis, Finding, diagnose
from vtloc_runtime.cli.main import main


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(package: str) -> str:
        if package not in versions:
            raise PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(doctor, "version", version)


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
    for subject, extra in (("onnxruntime", "cpu"), ("tensorrt", "tensorrt"), ("jinja2", "report")):
        found = finding(diagnosis, subject)
        assert found.state == "absent"
        assert f"[{extra}]" in found.remedy


def test_a_missing_driver_is_no_problem_where_no_gpu_is_wanted(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(doctor.ctypes, "CDLL", absent)
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
        assert (found.state, found.detail) == ("ok", "pynvvideocodec 2.2.4: NVDEC answers")
    with nvdec_double.installed(tensorrt_double.Gpu(ordinal=1)):
        found = finding(diagnose(colour_bundle), "GPU decoding")
        assert found.state == "absent"
        assert "no NVDEC answers on GPU 0" in found.detail
    installed(monkeypatch, {})
    assert "[decode-gpu]" in finding(diagnose(colour_bundle), "GPU decoding").remedy
