"""The results file: one record a line, and the checkpoint from which an interrupted run resumes.

Each record is one line, which is on the disk before the next is written. A process that is killed
leaves at most one incomplete line at the end; the next run removes it and resumes. Each line ends
with a checksum, so that damage is detected.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc_runtime.batch.results.locked_file import (
    REMEDY,
    append_only,
    lock,
    open_locked,
    unwritable,
)
from vtloc_runtime.batch.results.records import Record, decode_record, encode_record
from vtloc_runtime.batch.results.results_beginning import (
    BEGINNING,
    BOM,
    holds_results,
    may_begin_a_record,
)
from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Iterable


class ResultsFile(Closing):
    """A results file that is open for more records.

    Args:
        path: The file; its folder is created. A pipe or a device is only written.
        run: The run's fingerprint; a file with answers of another run is refused.
        overwrite: Start over. The old results are removed when the first new one is written.
        repair: Remove the damaged lines of a file; a copy of the old file is kept next to it.

    Attributes:
        path: The file.
        damaged: Number of lines that ``repair`` removed.
        kept_aside: The copy of the damaged file; None if nothing was damaged.

    Raises:
        OutputError: It cannot be written, holds something else, is damaged, or another process
            writes it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        run: str = "",
        overwrite: bool = False,
        repair: bool = False,
    ) -> None:
        self.path = Path(path)
        self.damaged = 0
        self.kept_aside: Path | None = None
        self._descriptor = open_locked(self.path)
        try:
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            self._size = os.fstat(self._descriptor).st_size
            self._overwrite = False
            if self._regular:
                self._begin(run, overwrite=overwrite, repair=repair)
        except BaseException:
            os.close(self._descriptor)
            raise

    def records(self) -> Iterator[Record]:
        """The records in the file, in order."""
        if self._regular and not self._overwrite:
            for _, line in self._lines():
                with contextlib.suppress(OutputError):
                    yield decode_record(line.removeprefix(BOM), checked=True)

    def append(self, records: Iterable[Record]) -> None:
        """Write records to the disk: all of them, or none.

        Raises:
            OutputError: The disk is full, or the file was replaced; earlier records are kept.
            BrokenPipeError: The pipe was closed by its reader.
        """
        content = b"".join(encode_record(record) for record in records)
        try:
            if self._regular:
                self._check_place()
                if self._overwrite:
                    os.ftruncate(self._descriptor, 0)
                    self._size, self._overwrite = 0, False
            self._write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._undo()
            raise unwritable(self.path, error) from error
        self._size += len(content)

    def drop(self, ids: set[str]) -> None:
        """Remove records, so that their jobs are repeated.

        The file is replaced atomically: a crash leaves either the old one or the new one.

        Raises:
            OutputError: The disk is full or gone.
        """
        if ids and self._regular and not self._overwrite:
            self._check_place()
            self._rewrite(ids)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, run: str, *, overwrite: bool, repair: bool) -> None:
        """Check the file, and prepare it for more records."""
        beginning = os.pread(self._descriptor, BEGINNING, 0)
        if not holds_results(beginning):
            raise OutputError(
                "the file holds something other than results; it is left alone",
                where=self.path,
                remedy=REMEDY,
            )
        if overwrite:
            self._overwrite = self._size > 0
            return
        complete, damaged = self._scan(run)
        if damaged and not repair:
            more = f" ({len(damaged)} lines are damaged)" if len(damaged) > 1 else ""
            raise OutputError(
                f"the line is damaged: its checksum does not match{more}",
                where=f"{self.path}:{damaged[0]}",
                remedy="Remove the damaged lines with --repair, or start over with --overwrite",
            )
        if damaged:
            self.damaged, self.kept_aside = len(damaged), self._keep_aside()
            self._rewrite(set())
        elif complete < self._size:
            self._cut(complete)

    def _scan(self, run: str) -> tuple[int, list[int]]:
        """Where the last complete line ends, and the numbers of damaged lines."""
        complete, damaged = 0, []
        for number, content in self._lines():
            line = content.removeprefix(BOM)
            whole = line.endswith(b"\n")
            complete += len(content) if whole else 0
            if not line.strip():
                continue
            if not whole:
                # The rest of an interrupted write is removed; anything else is damage.
                if not may_begin_a_record(line.strip(b"\0")):
                    damaged.append(number)
                continue
            try:
                record = decode_record(line, checked=True)
            except OutputError:
                damaged.append(number)
                continue
            if record.run != run:
                raise OutputError(
                    "the file holds answers of another run (another bundle, backend or options)",
                    where=f"{self.path}:{number}",
                    remedy="Choose another file, or start over with --overwrite",
                )
        return complete, damaged

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Number, from 1, and content of each line, with its line feed."""
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                file.seek(0)
                yield from enumerate(file, start=1)
        except OSError as error:
            raise OutputError(
                f"cannot read the results: {error.strerror}", where=self.path, remedy=REMEDY
            ) from error

    def _cut(self, size: int) -> None:
        """Remove the line that an interrupted run did not finish."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self._size = size

    def _keep_aside(self) -> Path:
        """Copy the damaged file into its folder, under a new name."""
        target = Path(os.path.realpath(self.path))
        try:
            for number in range(1, 1000):
                aside = target.with_name(f"{target.name}.damaged-{number}")
                with contextlib.suppress(FileExistsError), aside.open("xb") as copy:
                    copy.writelines(line for _, line in self._lines())
                    copy.flush()
                    os.fsync(copy.fileno())
                    shutil.copymode(target, aside)
                    return aside
        except OSError as error:
            raise unwritable(aside, error) from error
        raise OutputError("the folder has too many damaged files", where=target.parent)

    def _rewrite(self, dropped: set[str]) -> None:
        """Replace the file, without some of its records, while it stays locked."""
        descriptor = -1
        seen = set(dropped)
        try:
            with atomic_write(self.path) as file:
                for record in self.records():
                    if record.id not in seen:
                        seen.add(record.id)
                        file.write(encode_record(record))
                size = file.tell()
                # The copy shares the file's lock, and outlives the block.
                descriptor = os.dup(file.fileno())
                lock(descriptor, self.path)
                append_only(descriptor)
        except BaseException as error:
            if descriptor >= 0:
                os.close(descriptor)
            if isinstance(error, OSError):
                raise unwritable(self.path, error) from error
            raise
        os.close(self._descriptor)
        self._descriptor, self._size = descriptor, size

    def _check_place(self) -> None:
        """Check that the path is still the open file, unchanged.

        Raises:
            OutputError: It was moved, deleted, replaced, or changed by something else.
        """
        changed = OutputError(
            "the results file was moved, deleted or changed during the run",
            where=self.path,
            remedy="Restore it, then run the same command again to resume",
        )
        try:
            seen = os.stat(self.path)
        except OSError as error:
            raise changed from error
        held = os.fstat(self._descriptor)
        if not os.path.samestat(seen, held) or held.st_size != self._size:
            raise changed

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]
        if self._regular:
            os.fdatasync(self._descriptor)

    def _undo(self) -> None:
        """Remove the part of the records that was written."""
        if self._regular:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
