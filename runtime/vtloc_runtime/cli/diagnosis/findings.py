"""What a diagnosis consists of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is.
        state: ``ok``; ``absent``, where only some work needs it; ``problem``, to be fixed.
        detail: What was found.
        remedy: What can be done about it.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A way to run the bundle here, tried out.

    Attributes:
        backend: Which backend.
        device: On which device.
        serves: Whether it answered.
        detail: The precisions that ran, or why it cannot serve.
        remedy: What can be done about it.
    """

    backend: str
    device: str
    serves: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        findings: Parts of the machine and of the installation.
        services: Ways to run the bundle.
    """

    findings: tuple[Finding, ...]
    services: tuple[Service, ...]

    @property
    def serves(self) -> bool:
        """Whether anything here can run the bundle."""
        return any(service.serves for service in self.services)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain JSON values."""
        return asdict(self)
