"""System calls by name: their numbers on the two supported processors, and how to make one.

The numbers are the kernel's stable interface (``asm/unistd_64.h`` for x86_64,
``asm-generic/unistd.h`` for aarch64); a dash marks a call that a processor does not have.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_TABLE = """
access 21 -, add_key 248 217, arch_prctl 158 -, bind 49 200, bpf 321 280, brk 12 214,
capget 125 90, capset 126 91, chdir 80 49, chroot 161 51, clock_getres 229 114,
clock_gettime 228 113, clock_nanosleep 230 115, clone 56 220, clone3 435 435, close 3 57,
close_range 436 436, connect 42 203, creat 85 -, dup 32 23, dup2 33 -, dup3 292 24,
epoll_create1 291 20, epoll_ctl 233 21, epoll_pwait 281 22, epoll_wait 232 -, eventfd2 290 19,
execve 59 221, execveat 322 281, exit 60 93, exit_group 231 94, faccessat 269 48,
faccessat2 439 439, fadvise64 221 223, fallocate 285 47, fchdir 81 50, fcntl 72 25,
fdatasync 75 83, flock 73 32, fork 57 -, fstat 5 80, fstatfs 138 44, fsync 74 82,
ftruncate 77 46, futex 202 98, get_mempolicy 239 236, get_robust_list 274 100, getcpu 309 168,
getcwd 79 17, getdents64 217 61, getegid 108 177, geteuid 107 175, getgid 104 176,
getgroups 115 158, getitimer 36 102, getpeername 52 205, getpgid 121 155, getpgrp 111 -,
getpid 39 172, getppid 110 173, getpriority 140 141, getrandom 318 278, getrlimit 97 163,
getrusage 98 165, getsid 124 156, getsockname 51 204, getsockopt 55 209, gettid 186 178,
gettimeofday 96 169, getuid 102 174, getxattr 191 8, io_uring_setup 425 425, ioctl 16 29,
keyctl 250 219, kill 62 129, landlock_add_rule 445 445, landlock_create_ruleset 444 444,
landlock_restrict_self 446 446, listen 50 201, lseek 8 62, lstat 6 -, madvise 28 233,
mbind 237 235, membarrier 324 283, memfd_create 319 279, mincore 27 232, mkdir 83 -,
mkdirat 258 34, mmap 9 222, mount 165 40, mprotect 10 226, mremap 25 216, msync 26 227,
munmap 11 215, name_to_handle_at 303 264, nanosleep 35 101, newfstatat 262 79, open 2 -,
open_by_handle_at 304 265, openat 257 56, openat2 437 437, pause 34 -, perf_event_open 298 241,
pidfd_getfd 438 438, pidfd_open 434 434, pidfd_send_signal 424 424, pipe 22 -, pipe2 293 59,
poll 7 -, ppoll 271 73, prctl 157 167, pread64 17 67, prlimit64 302 261,
process_vm_readv 310 270, process_vm_writev 311 271, pselect6 270 72, ptrace 101 117,
pwrite64 18 68, read 0 63, readlink 89 -, readlinkat 267 78, readv 19 65, recvfrom 45 207,
recvmsg 47 212, rename 82 -, renameat 264 38, renameat2 316 276, restart_syscall 219 128,
rmdir 84 -, rseq 334 293, rt_sigaction 13 134, rt_sigpending 127 136, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigsuspend 130 133, rt_sigtimedwait 128 137,
sched_get_priority_max 146 125, sched_get_priority_min 147 126, sched_getaffinity 204 123,
sched_getparam 143 121, sched_getscheduler 145 120, sched_setaffinity 203 122,
sched_yield 24 124, seccomp 317 277, select 23 -, sendmsg 46 211, sendto 44 206,
set_mempolicy 238 237, set_robust_list 273 99, set_tid_address 218 96, setitimer 38 103,
setns 308 268, setrlimit 160 164, setsid 112 157, setsockopt 54 208, shmat 30 196, shmctl 31 195,
shmget 29 194, shutdown 48 210, sigaltstack 131 132, socket 41 198, socketpair 53 199, stat 4 -,
statfs 137 43, statx 332 291, sysinfo 99 179, tgkill 234 131, time 201 -, timer_create 222 107,
timer_delete 226 111, timer_settime 223 110, times 100 153, truncate 76 45, umask 95 166,
uname 63 160, unlink 87 -, unlinkat 263 35, unshare 272 97, userfaultfd 323 282, vfork 58 -,
wait4 61 260, waitid 247 95, write 1 64, writev 20 66
"""
_COLUMNS = {"x86_64": 0, "aarch64": 1}
HIGHEST_KNOWN = 462
"""No call of the table has a higher number; what lies above is newer than the table."""


def numbers() -> dict[str, int]:
    """Call name to number on this processor; empty where the table does not apply."""
    column = _COLUMNS.get(platform.machine())
    # A 32-bit interpreter on a 64-bit kernel speaks another table.
    if sys.platform != "linux" or column is None or sys.maxsize < 2**32:
        return {}
    known = {}
    for entry in _TABLE.replace("\n", " ").split(","):
        name, *columns = entry.split()
        if columns[column] != "-":
            known[name] = int(columns[column])
    return known


NUMBERS = numbers()


def call(name: str, *arguments: int | ctypes.c_char_p | ctypes.c_void_p | bytes | None) -> int:
    """Make the system call ``name`` and return its result.

    Raises:
        OSError: the kernel refused, with its ``errno``; ENOSYS where the call does not exist.
    """
    if name not in NUMBERS:
        raise OSError(38, f"no system call {name} on this machine")
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *values)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return int(result)
