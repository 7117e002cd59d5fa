"""What decoder processes gave up before they read a video, for people to know."""

from __future__ import annotations

from dataclasses import dataclass, field

LAYERS = (
    "parent-death",
    "limits",
    "no-new-privileges",
    "capabilities",
    "not-dumpable",
    "landlock",
    "seccomp",
)
"""Every layer, in the order in which they are put on."""

_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """The sandbox layers that apply to a decoder, and those that are missing.

    Attributes:
        held: Layers in force, with what is worth knowing of each.
        missing: Layers that are not, with the reason.
    """

    held: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every layer applies."""
        return set(LAYERS) <= set(self.held)

    def __str__(self) -> str:
        names = [f"{name} {detail}".strip() for name, detail in self.held.items()]
        if self.complete:
            return f"complete ({', '.join(names)})"
        lacking = ", ".join(f"{name} ({reason})" for name, reason in self.missing.items())
        return f"{', '.join(names) or 'none'}; without {lacking}"


_seen: list[SandboxReport] = []


def remember_sandbox(report: SandboxReport) -> None:
    """Take note of the sandbox of a decoder that has started."""
    _seen.append(report)
    del _seen[:-_REMEMBERED]


def sandbox_in_force() -> SandboxReport | None:
    """The sandbox of the decoders that this process has started, the weakest of them.

    None where it has started none.
    """
    return min(list(_seen), key=lambda report: len(report.held), default=None)
