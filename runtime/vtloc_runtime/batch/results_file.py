"""The results file, which is its own journal: what stands in it need not be done again.

Every record is one line, written whole and brought to the disk before the next. A process that is
killed leaves at most one torn line at the end; the next run cuts it off and goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vtloc_runtime.batch.records import Record, decode_record, encode_record
from vtloc_runtime.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable

_REMEDY = "Choose another place with --out"


class Journal:
    """A results file that is open for more records.

    Args:
        path: Where it lies; its folder is made if need be. A pipe or a device is only written.
        run: What the answers depend on; a file with answers of another run is refused.
        overwrite: Begin anew, whatever the file holds.

    Raises:
        OutputError: It cannot be written, holds something else, or another process writes it.
    """

    def __init__(self, path: str | Path, *, run: str = "", overwrite: bool = False) -> None:
        self.path = Path(path)
        self.records: list[Record] = []
        self._descriptor = _open(self.path)
        try:
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            if self._regular:
                _lock(self._descriptor, self.path)
                if overwrite:
                    os.ftruncate(self._descriptor, 0)
                self.records = self._read(run)
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def done(self) -> set[str]:
        """Ids of the jobs that need not be done again."""
        return {record.id for record in self.records}

    def append(self, records: Iterable[Record]) -> None:
        """Write records and bring them to the disk: all of them, or none.

        Raises:
            OutputError: The disk is full or gone; what stood there before still stands.
            BrokenPipeError: Nobody reads the pipe any more.
        """
        added = list(records)
        content = memoryview(b"".join(encode_record(record) for record in added))
        before = os.lseek(self._descriptor, 0, os.SEEK_END) if self._regular else 0
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
            if self._regular:
                os.fdatasync(self._descriptor)
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._regular:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, before)
            raise OutputError(
                f"cannot write results: {error.strerror}", where=self.path, remedy=_REMEDY
            ) from error
        self.records.extend(added)

    def forget(self, ids: set[str]) -> None:
        """Take records out, so that their jobs are done again.

        The file is replaced in one step: a crash leaves either the old one or the new one.

        Raises:
            OutputError: The disk is full or gone.
        """
        kept = [record for record in self.records if record.id not in ids]
        if not self._regular or len(kept) == len(self.records):
            return
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            fresh.write_bytes(b"".join(encode_record(record) for record in kept))
            descriptor = _open(fresh)
            _lock(descriptor, fresh)
            os.fsync(descriptor)
            fresh.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise OutputError(
                f"cannot write results: {error.strerror}", where=self.path, remedy=_REMEDY
            ) from error
        os.close(self._descriptor)
        self._descriptor, self.records = descriptor, kept

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, run: str) -> list[Record]:
        """The records that stand in the file, after cutting off a torn last line."""
        size = os.fstat(self._descriptor).st_size
        content = b""
        while len(content) < size and (
            part := os.pread(self._descriptor, size - len(content), len(content))
        ):
            content += part
        whole = content.rfind(b"\n") + 1
        torn = content[whole:]
        # Only what this program may have begun to write is cut off, never a stranger's text.
        if torn.strip(b"\0") and not b'{"id":"'.startswith(torn[:7]):
            raise self._stranger(content.count(b"\n") + 1)
        records = []
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                record = decode_record(line)
            except OutputError as error:
                raise self._stranger(number) from error
            if record.run != run:
                raise OutputError(
                    "the file holds answers of another run (another bundle, backend or options)",
                    where=f"{self.path}:{number}",
                    remedy="Choose another file, or begin anew with --overwrite",
                )
            records.append(record)
        if torn:
            os.ftruncate(self._descriptor, whole)
        return records

    def _stranger(self, number: int) -> OutputError:
        return OutputError(
            "the file holds something other than results",
            where=f"{self.path}:{number}",
            remedy="Choose another file, or begin anew with --overwrite",
        )


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        special = path.exists() and not path.is_file() and not path.is_dir()
        how = os.O_WRONLY if special else os.O_RDWR | os.O_CREAT | os.O_APPEND
        return os.open(path, how | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(
            f"cannot write results: {error.strerror}", where=path, remedy=_REMEDY
        ) from error


def _lock(descriptor: int, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            "another run is writing to this file", where=path, remedy=_REMEDY
        ) from error
    except OSError:
        # Some network file systems know no locks; two runs on one file are then the user's care.
        return
