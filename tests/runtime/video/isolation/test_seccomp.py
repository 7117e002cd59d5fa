"""The filter's decisions, worked out here for both processors; no kernel is asked."""

from __future__ import annotations

import errno

import pytest

from vtloc_runtime.video.isolation.seccomp import filter_program

X86, ARM = 0xC000003E, 0xC00000B7
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
ABSENT = 0x00050000 | errno.ENOSYS
ME = 4321
MACHINES = {"x86_64": X86, "aarch64": ARM}

CALLS = {
    "read": {"x86_64": 0, "aarch64": 63},
    "write": {"x86_64": 1, "aarch64": 64},
    "mmap": {"x86_64": 9, "aarch64": 222},
    "mprotect": {"x86_64": 10, "aarch64": 226},
    "futex": {"x86_64": 202, "aarch64": 98},
    "sendto": {"x86_64": 44, "aarch64": 206},
    "clone": {"x86_64": 56, "aarch64": 220},
    "clone3": {"x86_64": 435, "aarch64": 435},
    "tgkill": {"x86_64": 234, "aarch64": 131},
    "prctl": {"x86_64": 157, "aarch64": 167},
    "prlimit64": {"x86_64": 302, "aarch64": 261},
    "socket": {"x86_64": 41, "aarch64": 198},
    "connect": {"x86_64": 42, "aarch64": 203},
    "execve": {"x86_64": 59, "aarch64": 221},
    "execveat": {"x86_64": 322, "aarch64": 281},
    "openat": {"x86_64": 257, "aarch64": 56},
    "openat2": {"x86_64": 437, "aarch64": 437},
    "kill": {"x86_64": 62, "aarch64": 129},
    "ptrace": {"x86_64": 101, "aarch64": 117},
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "fcntl": {"x86_64": 72, "aarch64": 25},
    "ioctl": {"x86_64": 16, "aarch64": 29},
    "unlinkat": {"x86_64": 263, "aarch64": 35},
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "mount": {"x86_64": 165, "aarch64": 40},
    "pidfd_open": {"x86_64": 434, "aarch64": 434},
}


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to one call, step by step as the kernel would work it out."""
    program = filter_program(machine, ME)
    assert program is not None
    data = {0: number, 4: architecture or MACHINES[machine]}
    for place, value in enumerate(arguments):
        data[16 + 8 * place] = value & 0xFFFFFFFF
        data[20 + 8 * place] = value >> 32
    value = at = 0
    while True:
        step = program[at]
        at += 1
        if step.operation == 0x20:
            value = data.get(step.operand, 0)
        elif step.operation == 0x06:
            return step.operand
        else:
            held = {
                0x15: value == step.operand,
                0x35: value >= step.operand,
                0x45: bool(value & step.operand),
            }[step.operation]
            at += step.then if held else step.otherwise


@pytest.mark.parametrize("machine", MACHINES)
class TestBothProcessors:
    def call(self, machine: str, name: str, *arguments: int) -> int:
        return decide(machine, CALLS[name][machine], *arguments)

    def test_memory_threads_and_open_descriptors_stay(self, machine: str) -> None:
        for name in ("read", "futex", "sendto"):
            assert self.call(machine, name) == ALLOW

    @pytest.mark.parametrize(
        "name",
        [
            "socket", "connect", "execve", "execveat", "openat", "openat2", "kill", "ptrace",
            "process_vm_readv", "fcntl", "ioctl", "unlinkat", "io_uring_setup", "bpf", "mount",
            "pidfd_open",
        ],
    )  # fmt: skip
    def test_all_else_fails_with_eperm(self, machine: str, name: str) -> None:
        assert self.call(machine, name) == DENY

    def test_a_number_that_nobody_knows_fails(self, machine: str) -> None:
        for number in (9999, 0x3FFFFFFF, 0x40000000, 0x40000000 + CALLS["read"][machine]):
            assert decide(machine, number) == DENY

    def test_another_processors_calls_fail(self, machine: str) -> None:
        i386 = 0x40000003
        assert decide(machine, CALLS["read"][machine], architecture=i386) == DENY

    def test_threads_but_no_processes(self, machine: str) -> None:
        thread, process = 0x3D0F00, 17
        assert self.call(machine, "clone", thread) == ALLOW
        assert self.call(machine, "clone", process) == DENY
        # The C library then asks for clone, whose flags can be seen.
        assert self.call(machine, "clone3") == ABSENT

    def test_memory_never_becomes_code(self, machine: str) -> None:
        for name in ("mmap", "mprotect"):
            assert self.call(machine, name, 0, 4096, 3) == ALLOW
            assert self.call(machine, name, 0, 4096, 5) == DENY

    def test_writing_goes_to_standard_error_alone(self, machine: str) -> None:
        assert self.call(machine, "write", 2) == ALLOW
        for descriptor in (0, 1, 3, 7):
            assert self.call(machine, "write", descriptor) == DENY

    def test_signals_go_to_itself_alone(self, machine: str) -> None:
        assert self.call(machine, "tgkill", ME, ME, 6) == ALLOW
        assert self.call(machine, "tgkill", ME - 1, ME - 1, 6) == DENY

    def test_limits_are_read_and_not_set(self, machine: str) -> None:
        assert self.call(machine, "prlimit64", 0, 7, 0, 0x7FFF00001000) == ALLOW
        assert self.call(machine, "prlimit64", 0, 7, 0x1000, 0) == DENY
        assert self.call(machine, "prlimit64", 0, 7, 1 << 32, 0) == DENY

    def test_what_was_given_up_is_not_taken_back(self, machine: str) -> None:
        name_thread, parent_death, dumpable = 15, 1, 4
        assert self.call(machine, "prctl", name_thread) == ALLOW
        assert self.call(machine, "prctl", parent_death) == DENY
        assert self.call(machine, "prctl", dumpable) == DENY


def test_a_processor_whose_calls_are_not_known_has_no_filter() -> None:
    assert filter_program("riscv64", ME) is None
