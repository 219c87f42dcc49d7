"""The system calls that a confined program may make, as a filter for seccomp (classic BPF).

What is not listed fails with EPERM: processes, signals, sockets, writing by name, tracing, mounts,
limits. Threads may be made, since they end with the process.
"""

import errno
import platform
import struct

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_CLONE_THREAD = 0x10000
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND: a program may open what it can see, to read it.
_WRITES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000
# F_SETOWN, F_SETSIG, F_SETOWN_EX: they have the kernel signal another process.
_SIGNALLING = (8, 10, 15)

# Each with its numbers on x86-64 and on 64-bit ARM; -1 where it is not there.
_ALLOWED = """
read 0 63, write 1 64, close 3 57, lseek 8 62, readv 19 65, writev 20 66, pread64 17 67,
fstat 5 80, newfstatat 262 79, stat 4 -1, lstat 6 -1, statx 332 291, access 21 -1,
faccessat 269 48, faccessat2 439 439, readlink 89 -1, readlinkat 267 78, getcwd 79 17,
getdents64 217 61, ioctl 16 29, dup 32 23, dup2 33 -1, dup3 292 24, pipe 22 -1, pipe2 293 59,
select 23 -1, pselect6 270 72, poll 7 -1, ppoll 271 73, mmap 9 222, mprotect 10 226,
munmap 11 215, mremap 25 216, brk 12 214, madvise 28 233, futex 202 98, membarrier 324 283,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132,
restart_syscall 219 128, rseq 334 293, set_tid_address 218 96, set_robust_list 273 99,
arch_prctl 158 -1, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113,
clock_getres 229 114, gettimeofday 96 169, time 201 -1, times 100 153, getrusage 98 165,
sysinfo 99 179, uname 63 160, getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174,
geteuid 107 175, getgid 104 176, getegid 108 177, sched_yield 24 124,
sched_getaffinity 204 123, getrandom 318 278, exit 60 93, exit_group 231 94
"""

# Architecture's name to its number for the kernel, its column above, and openat, clone, clone3 and
# fcntl, whose arguments decide.
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 0, (257, 56, 435, 72)),
    "aarch64": (0xC00000B7, 1, (56, 220, 435, 25)),
}


def is_known(machine: str = "") -> bool:
    """Tell whether there is a filter for a processor; by default this one's."""
    return (machine or platform.machine()) in _ARCHITECTURES


def build(machine: str = "") -> bytes:
    """Assemble the filter.

    Args:
        machine: The processor as ``platform.machine()`` names it; empty is this one's.

    Raises:
        KeyError: There is none for it.
    """
    architecture, column, (openat, clone, clone3, fcntl) = _ARCHITECTURES[
        machine or platform.machine()
    ]
    listed = [int(entry.split()[1 + column]) for entry in _ALLOWED.split(",")]
    numbers = [number for number in listed if number >= 0]
    allow, refuse = _returns(_ALLOW), _returns(_ERROR | errno.EPERM)
    by_arguments = [
        (openat, [_loads(_argument(2)), _skips(_ANY_BIT, _WRITES, 1), allow, refuse]),
        (clone, [_loads(_argument(0)), _skips(_ANY_BIT, _CLONE_THREAD, 1), refuse, allow]),
        # Its flags are in memory, which a filter cannot read: libraries then use clone.
        (clone3, [_returns(_ERROR | errno.ENOSYS)]),
        (fcntl, [_loads(_argument(1)), *_skip_signalling(), allow, refuse]),
    ]
    body = [_loads(_ARCHITECTURE), _skips(_EQUAL, architecture, 1), _returns(_KILL)]
    body += [_loads(_NUMBER), _skips(_AT_LEAST, _X32, 0, 1), refuse]
    for number, instructions in by_arguments:
        body += [_skips(_EQUAL, number, 0, len(instructions)), *instructions]
    for place, number in enumerate(numbers):
        body.append(_skips(_EQUAL, number, len(numbers) - place))
    body += [refuse, allow]
    return b"".join(body)


def _skip_signalling() -> list[bytes]:
    # Each jumps over the tests behind it and the allowing return, to the refusing one.
    last = len(_SIGNALLING)
    return [_skips(_EQUAL, command, last - place) for place, command in enumerate(_SIGNALLING)]


def _argument(index: int) -> int:
    # Its low half: both processors are little-endian.
    return _ARGUMENTS + 8 * index


def _loads(offset: int) -> bytes:
    return struct.pack("HBBI", _LOAD, 0, 0, offset)


def _returns(value: int) -> bytes:
    return struct.pack("HBBI", _RETURN, 0, 0, value)


def _skips(test: int, value: int, if_true: int, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", test, if_true, if_false, value)
