"""The exceptions that vtloc raises.

    VtlocError
      UsageError           BundleError       OutputError      ClusterError
      VideoError           BackendError      JobError         MissingExtraError
        DecoderLostError   NetworkError      FeatureError
      QueryError           EngineError

Each says what went wrong, where, and what to do about it. Programs print it as one line and exit
with its `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar


class VtlocError(Exception):
    """Base class of every error that vtloc raises on purpose.

    Args:
        what: What went wrong, a sentence without its full stop.
        where: The file, field, network or option concerned.
        remedy: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f". {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not pickle on their own, and errors cross processes.
        return (_restore, (type(self), self.what, self.where, self.remedy))


def _restore(
    error: type[VtlocError], what: str, where: str | None, remedy: str | None
) -> VtlocError:
    return error(what, where=where, remedy=remedy)


class UsageError(VtlocError):
    """An invalid option or argument."""

    exit_code = 2
    kind = "usage"


class VideoError(VtlocError):
    """A video that cannot be opened, read or decoded."""

    exit_code = 3
    kind = "video"


class DecoderLostError(VideoError):
    """A decoder process that was killed from outside; its video may be tried again."""


class QueryError(VtlocError):
    """A sentence that cannot be used as a query."""

    exit_code = 4
    kind = "query"


class BundleError(VtlocError):
    """A bundle with a missing, altered, unknown or contradictory part."""

    exit_code = 5
    kind = "bundle"


class BackendError(VtlocError):
    """A backend, device or precision that cannot run here."""

    exit_code = 6
    kind = "backend"


class DeviceLostError(BackendError):
    """A GPU that failed in a way that outlasts the call: no later work of the process can succeed.

    It ends a run, unlike the failure of one video.
    """

    kind = "device-lost"


class NetworkError(VtlocError):
    """Invalid inputs of a network, or a failed run of it."""

    exit_code = 7
    kind = "network"


class OutputError(VtlocError):
    """An output that cannot be written."""

    exit_code = 8
    kind = "output"


class JobError(VtlocError):
    """A job list that cannot be read."""

    exit_code = 9
    kind = "job"


class FeatureError(VtlocError):
    """Stored features that are missing, damaged or from another encoder."""

    exit_code = 14
    kind = "feature"


class EngineError(VtlocError):
    """A TensorRT engine that could not be built, verified or loaded."""

    exit_code = 16
    kind = "engine"


class ClusterError(VtlocError):
    """A cluster that does not respond, or whose nodes cannot do the work."""

    exit_code = 19
    kind = "cluster"


class MissingExtraError(VtlocError):
    """An optional dependency that is not installed."""

    exit_code = 17
    kind = "missing-extra"

    @classmethod
    def for_package(
        cls, package: str, *, extra: str, purpose: str, cause: ImportError | None = None
    ) -> MissingExtraError:
        """Name the extra that brings ``package``.

        Args:
            package: The import name that was not found.
            extra: The extra of this distribution that brings it, where
                `vtloc_runtime.system.installation.EXTRAS` names none.
            purpose: What it is needed for.
            cause: What importing it raised; a package that is installed but cannot be loaded
                gets its reason.
        """
        from vtloc_runtime.system.installation import EXTRAS, install_command

        state = "is not installed"
        if cause is not None and not isinstance(cause, ModuleNotFoundError):
            state = f"cannot be loaded: {cause}"
        return cls(
            f"{purpose} needs the package {package}, which {state}",
            remedy=f"Install it with: {install_command(EXTRAS.get(package, extra))}",
        )
