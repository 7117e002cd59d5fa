"""A seccomp filter that allows only the system calls that a decoder needs.

A denied call fails with EPERM, so that a library that tries one goes on without it. See
https://docs.kernel.org/userspace-api/seccomp_filter.html and seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass
from typing import NamedTuple

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

# Operations of the classic Berkeley packet filter, from linux/filter.h.
_LOAD, _RETURN = 0x20, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45

# Answers of the filter, from linux/seccomp.h.
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | errno.EPERM
_UNKNOWN = 0x00050000 | errno.ENOSYS

# Places in struct seccomp_data; arguments are 64 bits, little-endian here.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x00010000
_PROT_EXEC = 0x4
_PR_SET_NAME = 15
_PR_SET_VMA = 0x53564D41
_STDERR = 2
_X32_BIT = 0x40000000


class Instruction(NamedTuple):
    """One instruction of the filter, as ``struct sock_filter`` has it.

    Attributes:
        operation: What it does.
        then: Instructions skipped where a test holds.
        otherwise: Instructions skipped where it does not.
        operand: Its constant.
    """

    operation: int
    then: int
    otherwise: int
    operand: int


@dataclass(frozen=True, slots=True)
class _Architecture:
    """A processor's numbers.

    Attributes:
        audit: Its ``AUDIT_ARCH`` constant.
        calls: Number of each system call that is allowed or looked at; calls that it lacks are
            left out.
        other_abi: First number of a second set of calls that the kernel takes; 0 where none is.
    """

    audit: int
    calls: dict[str, int]
    other_abi: int = 0


# What is allowed whatever the arguments: memory, threads, clocks, and the descriptors at hand.
_FREE = (
    "read", "readv", "pread64", "preadv", "lseek", "close", "fstat",
    "poll", "ppoll", "select", "pselect6", "sendto", "sendmsg", "recvfrom", "recvmsg",
    "munmap", "brk", "mremap", "madvise", "membarrier",
    "futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "getcpu",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "getpid", "getppid", "gettid", "getrusage", "times", "sysinfo", "uname", "getrandom",
    "exit", "exit_group",
)  # fmt: skip

_ARCHITECTURES = {
    "x86_64": _Architecture(
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9,
            "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
            "rt_sigreturn": 15, "pread64": 17, "readv": 19, "select": 23, "sched_yield": 24,
            "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "sendto": 44,
            "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "clone": 56, "exit": 60, "uname": 63,
            "gettimeofday": 96, "getrusage": 98, "sysinfo": 99, "times": 100, "getppid": 110,
            "sigaltstack": 131, "prctl": 157, "gettid": 186, "time": 201, "futex": 202,
            "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228,
            "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234,
            "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "preadv": 295,
            "prlimit64": 302, "getcpu": 309, "getrandom": 318, "membarrier": 324, "rseq": 334,
            "clone3": 435,
        },
        other_abi=_X32_BIT,
    ),
    "aarch64": _Architecture(
        0xC00000B7,
        {
            "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "pread64": 67,
            "preadv": 69, "pselect6": 72, "ppoll": 73, "fstat": 80, "exit": 93,
            "exit_group": 94, "futex": 98, "set_robust_list": 99, "nanosleep": 101,
            "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115,
            "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128, "tgkill": 131,
            "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
            "times": 153, "uname": 160, "getrusage": 165, "prctl": 167, "getcpu": 168,
            "gettimeofday": 169, "getpid": 172, "getppid": 173, "gettid": 178, "sysinfo": 179,
            "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212, "brk": 214,
            "munmap": 215, "mremap": 216, "clone": 220, "mmap": 222, "mprotect": 226,
            "madvise": 233, "prlimit64": 261, "getrandom": 278, "membarrier": 283, "rseq": 293,
            "clone3": 435,
        },
    ),
}  # fmt: skip


def filter_program(machine: str, process: int) -> list[Instruction] | None:
    """The filter for a processor, None if its system calls are unknown.

    Args:
        machine: The processor as ``platform.machine`` names it.
        process: The process that the filter is for; it may signal itself alone.
    """
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        return None
    calls = architecture.calls
    program = [
        Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        Instruction(_IF_EQUAL, 1, 0, architecture.audit),
        _answer(_DENY),
        Instruction(_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.other_abi:
        program += [Instruction(_IF_AT_LEAST, 0, 1, architecture.other_abi), _answer(_DENY)]
    for name in _FREE:
        if name in calls:
            program += [Instruction(_IF_EQUAL, 0, 1, calls[name]), _answer(_ALLOW)]
    for name, rule in _rules(process).items():
        program += [Instruction(_IF_EQUAL, 0, len(rule), calls[name]), *rule]
    return [*program, _answer(_DENY)]


def install_filter() -> str | None:
    """Install the filter permanently; returns the reason if the kernel refuses it.

    ``no_new_privs`` must be set, and no second thread may run: it would not be filtered.
    """
    program = filter_program(platform.machine(), os.getpid())
    if program is None:
        return f"no filter for {platform.machine() or 'this'} processors"
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    )
    header = struct.pack("HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header), 0, 0) != 0:
        return os.strerror(ctypes.get_errno()).lower()
    return None


def _answer(answer: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, answer)


def _low(argument: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)


def _high(argument: int) -> Instruction:
    return Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4)


def _one_of(argument: int, *values: int) -> list[Instruction]:
    """Allow where an argument's lower half is one of some values."""
    tests = []
    for value in values:
        tests += [Instruction(_IF_EQUAL, 0, 1, value), _answer(_ALLOW)]
    return [_low(argument), *tests, _answer(_DENY)]


def _by_bit(argument: int, bit: int, *, allowed: bool) -> list[Instruction]:
    """Allow where a bit of an argument is set, or where it is not."""
    answers = [_answer(_ALLOW), _answer(_DENY)] if allowed else [_answer(_DENY), _answer(_ALLOW)]
    return [_low(argument), Instruction(_IF_ANY_BIT, 0, 1, bit), *answers]


def _rules(process: int) -> dict[str, list[Instruction]]:
    """Calls that depend on their arguments."""
    return {
        # Only to standard error; frames leave by sendto, which takes sockets alone.
        "write": _one_of(0, _STDERR),
        # Memory never becomes code.
        "mmap": _by_bit(2, _PROT_EXEC, allowed=False),
        "mprotect": _by_bit(2, _PROT_EXEC, allowed=False),
        # Threads, but no processes. The flags of clone3 lie in memory, out of a filter's sight:
        # the C library falls back on clone where the kernel says that it lacks clone3.
        "clone": _by_bit(0, _CLONE_THREAD, allowed=True),
        "clone3": [_answer(_UNKNOWN)],
        # abort() raises a signal in the process itself.
        "tgkill": _one_of(0, process),
        "prctl": _one_of(0, _PR_SET_NAME, _PR_SET_VMA),
        # Limits may be read, not set.
        "prlimit64": [
            _low(2),
            Instruction(_IF_EQUAL, 0, 2, 0),
            _high(2),
            Instruction(_IF_EQUAL, 1, 0, 0),
            _answer(_DENY),
            _answer(_ALLOW),
        ],
    }
