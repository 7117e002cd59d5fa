"""A folder of files that vtloc wrote, which a later run may replace, and no others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output
from vtloc_runtime.system.untrusted_json import read_json

LIST_NAME = ".vtloc-files.json"
_BLOCK = 2**20


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """The folder's own list: the digest of each file that was written."""

    vtloc_files: dict[str, str]


class OutputFolder:
    """A folder for files of one kind, such as clips.

    The folder keeps a list of what was written, with a digest of each file. A file is replaced
    only if it is in the list and has not changed since.

    Args:
        path: The folder; it is made when the first file is written.
        inputs: What each input of the run is, and its path; none of them is replaced.

    Raises:
        OutputError: It is a file, cannot be written to, or its list is damaged.
    """

    def __init__(self, path: str | Path, inputs: Iterable[tuple[str, str]] = ()) -> None:
        self.path = Path(path)
        self._inputs = list(inputs)
        self._list = self.path / LIST_NAME
        if os.path.lexists(self.path) and not os.path.isdir(self.path):
            raise OutputError("this is not a folder", where=self.path, remedy="Name a folder")
        parent = self.path.absolute()
        while not os.path.lexists(parent):
            parent = parent.parent
        if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
            raise OutputError("the folder cannot be written to", where=self.path)
        self._written = self._read_list()

    def write(self, name: str, content: bytes) -> Path:
        """Write one file whole.

        Args:
            name: Its name, without a folder.
            content: Its bytes.

        Raises:
            OutputError: A file of that name was not written by vtloc, or changed since, or the
                disk is full.
        """
        target = self.path / name
        if os.path.basename(name) != name or name in ("", ".", "..", LIST_NAME):
            raise OutputError("the name is not that of a file in the folder", where=target)
        self.check(name)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as file:
                file.write(content)
            self._written[name] = hashlib.sha256(content).hexdigest()
            with atomic_write(self._list) as file:
                file.write(msgspec.json.format(msgspec.json.encode(_Written(self._written))))
        except OSError as error:
            raise OutputError(f"cannot be written: {error.strerror}", where=target) from error
        return target

    def check(self, name: str) -> None:
        """Refuse a file that may not be replaced.

        Raises:
            OutputError: It is an input, was not written by vtloc, or changed since.
        """
        target = self.path / name
        if os.path.islink(target):
            raise OutputError("this is a link, which is left alone", where=target)
        check_output(target, inputs=self._inputs, ours=lambda _: self._is_ours(name))

    def _is_ours(self, name: str) -> bool:
        return name in self._written and _digest(self.path / name) == self._written[name]

    def _read_list(self) -> dict[str, str]:
        if not os.path.lexists(self._list):
            return {}

        def fail(reason: str) -> OutputError:
            return OutputError(
                f"the list of written files is damaged: {reason}",
                where=self._list,
                remedy="Choose another folder",
            )

        return read_json(self._list, _Written, fail=fail).vtloc_files


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError:
        return ""
    return found.hexdigest()
