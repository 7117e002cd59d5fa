"""What a machine runs: answers are the same everywhere only where this is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vtloc_runtime.errors import ClusterError

_DECIDES_ANSWERS = (
    "vtloc",
    "av",
    "numpy",
    "tokenizers",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
)


@dataclass(frozen=True, slots=True)
class Software:
    """Versions of everything that answers depend on.

    Attributes:
        versions: Version by distribution; what is not installed is left out.
        code: Hash of this package's source, because a checkout's version says little.
    """

    versions: dict[str, str]
    code: str

    @classmethod
    def here(cls) -> Software:
        """What this machine runs."""
        versions = {}
        for name in _DECIDES_ANSWERS:
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                continue
        return cls(versions, _code())

    def check(self, wanted: Software, *, node: str) -> None:
        """Refuse a machine that runs something else.

        Args:
            wanted: What the driver runs.
            node: The machine's address, for the message.

        Raises:
            ClusterError: A version differs, or the package's source does.
        """
        differing = [
            f"{name} {self.versions.get(name, 'missing')} where the driver has "
            f"{wanted.versions.get(name, 'none')}"
            for name in sorted(self.versions.keys() | wanted.versions.keys())
            if self.versions.get(name) != wanted.versions.get(name)
        ]
        if self.code != wanted.code and not differing:
            differing = ["another source of vtloc under the same version"]
        if differing:
            raise ClusterError(
                f"the node runs {', '.join(differing)}",
                where=node,
                remedy="Install the same packages on every node, so that all give the same answers",
            )


@cache
def _code() -> str:
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
