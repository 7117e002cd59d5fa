"""What the real libraries offer, read without a GPU: names, and the arguments that calls take.

TensorRT's own bindings want three libraries that only NVIDIA's index has. They ask them for nine
C functions and nothing else, so hollow libraries with those functions let the bindings load and
say what they offer; nothing is run.
"""

from __future__ import annotations

import ast
import ctypes.util
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

HOLLOW_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
HOLLOW_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")

LISTING = """
import inspect, json, {module} as trt
classes = {{}}
for name, value in vars(trt).items():
    if not inspect.isclass(value):
        continue
    members = getattr(value, "__members__", None)
    names = dir(value) if members is None else [*members]
    docs = {{n: "" if members else getattr(value, n).__doc__ or "" for n in names}}
    classes[name] = docs
print(json.dumps({{"version": trt.__version__, "names": sorted(vars(trt)), "classes": classes}}))
"""

NVDEC_LISTING = """
import importlib.util, inspect, json, os, sys
# Functions of the driver are looked up when they are called, which nothing here does.
sys.setdlopenflags(os.RTLD_LAZY)
spec = importlib.util.spec_from_file_location("_PyNvVideoCodec", {file!r})
nvc = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nvc)
classes = {{{functions!r}: {{}}}}
for name, value in vars(nvc).items():
    if inspect.isclass(value):
        docs = {{n: getattr(value, n).__doc__ or "" for n in dir(value)}}
        members = getattr(value, "__members__", None)
        classes[name] = docs if members is None else dict.fromkeys(members, "")
    elif callable(value):
        classes[{functions!r}][name] = value.__doc__ or ""
print(json.dumps({{"version": {version!r}, "names": sorted(vars(nvc)), "classes": classes}}))
"""
FUNCTIONS = "the module's functions"


@dataclass(frozen=True)
class Parameters:
    """What one overload of a call takes, ``self`` left out."""

    names: tuple[str, ...]
    required: int
    keyword_only: tuple[str, ...] = ()
    open_ended: bool = False

    def accept(self, positional: int, keywords: Iterable[str]) -> bool:
        """Whether a call with so many positional arguments and these keywords fits."""
        keywords = set(keywords)
        if self.open_ended:
            return True
        if positional > len(self.names) or keywords & set(self.names[:positional]):
            return False
        if keywords - set(self.names) - set(self.keyword_only):
            return False
        return set(self.names[positional : self.required]) <= keywords


@dataclass(frozen=True)
class Library:
    """The names of a library: those of its module, and those of its classes with their calls."""

    title: str
    names: frozenset[str]
    classes: dict[str, dict[str, tuple[Parameters, ...]]]


def from_bindings(title: str, listing: dict) -> Library:
    """A library from what its bindings say about themselves."""
    classes = {
        name: {member: tuple(_from_docstring(member, doc)) for member, doc in members.items()}
        for name, members in listing["classes"].items()
    }
    return Library(f"{title} {listing['version']}", frozenset(listing["names"]), classes)


def from_stubs(title: str, files: Iterable[Path]) -> Library:
    """A library from its type stubs."""
    classes: dict[str, dict[str, list[Parameters]]] = {}
    bases: dict[str, list[str]] = {}
    names: set[str] = set()
    for file in files:
        for node in _parse_stubs(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names.add(node.name)
                classes.setdefault(node.name, {})
                bases[node.name] = [b.id for b in node.bases if isinstance(b, ast.Name)]
                _read_class(node, classes[node.name])
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
    for name, parents in bases.items():
        for parent in parents:
            for member, calls in classes.get(parent, {}).items():
                classes[name].setdefault(member, calls)
    finished = {n: {m: tuple(c) for m, c in members.items()} for n, members in classes.items()}
    return Library(title, frozenset(names), finished)


def _parse_stubs(text: str) -> ast.Module:
    """Parse stubs, leaving open what a signature takes where it is not Python."""
    return ast.parse("\n".join(map(_mended, text.splitlines())))


def _mended(line: str) -> str:
    match = re.match(r"(\s*)def (\w+)\(.*:(?: \.\.\.)?$", line)
    if match is None:
        return line
    try:
        ast.parse(f"{line.strip().removesuffix(' ...')} ...")
    except SyntaxError:
        return f"{match[1]}def {match[2]}(*args, **kwargs):{' ...' if line.endswith('...') else ''}"
    return line


def _read_class(node: ast.ClassDef, members: dict[str, list[Parameters]]) -> None:
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
            calls = members.setdefault(child.name, [])
            if "property" not in decorators and not any("setter" in d for d in decorators):
                calls.append(_from_function(child, static="staticmethod" in decorators))
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            members.setdefault(child.target.id, [])
        elif isinstance(child, ast.Assign):
            for target in child.targets:
                if isinstance(target, ast.Name):
                    members.setdefault(target.id, [])


def _from_function(node: ast.FunctionDef, *, static: bool) -> Parameters:
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][0 if static else 1 :]
    return Parameters(
        tuple(names),
        len(names) - len(arguments.defaults),
        tuple(a.arg for a in arguments.kwonlyargs),
        arguments.vararg is not None and arguments.kwarg is not None,
    )


def _from_docstring(member: str, doc: str) -> Iterable[Parameters]:
    for match in re.finditer(rf"(?m)^(?:\d+\. )?{re.escape(member)}\((.*)\)(?: -> .*)?$", doc):
        parts = _split(match[1])
        if parts and parts[0].startswith("*args"):
            continue
        parts = [part for part in parts if not part.startswith("self")]
        yield Parameters(
            tuple(part.split(":")[0].strip() for part in parts),
            sum("=" not in part for part in parts),
        )


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "[(<{") - (character in "])}")
        depth -= character == ">" and text[index - 1] != "-"
        if character == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def tensorrt_rtx() -> Library | None:
    """TensorRT-RTX as installed."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return None
    return from_bindings("tensorrt_rtx", _list("tensorrt_rtx", {}))


def tensorrt_stubs() -> Library | None:
    """TensorRT 10 as its stubs describe it."""
    for folder in map(Path, sys.path):
        file = folder / "tensorrt_bindings" / "tensorrt.pyi"
        if file.is_file():
            return from_stubs("tensorrt 10 (stubs)", [file, file.with_name("__init__.pyi")])
    return None


def tensorrt_bindings(scratch: Path) -> Library | None:
    """TensorRT as its own bindings describe it, over hollow libraries."""
    spec = importlib.util.find_spec("tensorrt_bindings")
    compiler = shutil.which("cc")
    if spec is None or spec.origin is None or compiler is None:
        return None
    match = re.search(
        rb"libnvinfer\.so\.(\d+)", Path(spec.origin).with_name("tensorrt.so").read_bytes()
    )
    if match is None:
        return None
    major = match[1].decode()
    source = scratch / "hollow.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in HOLLOW_FUNCTIONS))
    for library in HOLLOW_LIBRARIES:
        soname = f"lib{library}.so.{major}"
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", scratch / soname, source],
            check=True,
        )
    listing = _list("tensorrt_bindings", {"LD_LIBRARY_PATH": str(scratch)})
    return from_bindings("tensorrt", listing)


def pynvvideocodec_file() -> Path | None:
    """The compiled part of PyNvVideoCodec."""
    spec = importlib.util.find_spec("PyNvVideoCodec")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("PyNvVideoCodec_130.*.so"))), None)


def pynvvideocodec(scratch: Path) -> Library | None:
    """PyNvVideoCodec as its own bindings describe it, over a library in the driver's place.

    The bindings want the driver's library to be there and none of its functions before they are
    called, so any library under that name does.
    """
    file = pynvvideocodec_file()
    if file is None or sys.platform != "linux":
        return None
    mathematics = ctypes.util.find_library("m")
    loaded = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    found = next((path for path in loaded if Path(path).name == mathematics), None)
    if found is None:
        return None
    (scratch / "libcuda.so.1").symlink_to(found)
    program = NVDEC_LISTING.format(
        file=str(file), functions=FUNCTIONS, version=version("pynvvideocodec")
    )
    listing = _run(program, {"LD_LIBRARY_PATH": str(scratch)})
    return from_bindings("pynvvideocodec", listing)


def cuda_core() -> Library | None:
    """cuda-core as the stubs in its own package describe it."""
    # Importing it turns the package into one of its builds, so its files are looked up.
    try:
        folder = Path(str(distribution("cuda-core").locate_file("cuda/core"))) / "cu13"
    except PackageNotFoundError:
        return None
    files = [*folder.rglob("*.pyi"), folder / "_memory" / "_legacy.py"]
    return from_stubs("cuda-core", files)


def _list(module: str, environment: dict[str, str]) -> dict:
    return _run(LISTING.format(module=module), environment)


def _run(program: str, environment: dict[str, str]) -> dict:
    import os

    shown = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)
