"""The system calls that the tracing processes may make; whatever is not listed is refused.

Found by running torch's import and ``torch.export`` under ``strace`` (torch 2.13, glibc 2.36) and
adding the harmless neighbours that other versions of Python and the C library use instead.
Two lists: the zygote's, which imports torch and forks, and the candidate's, which only computes.
"""

from __future__ import annotations

import os

from openevolve_unified.isolation.seccomp import Condition, Rule

_COMPUTE = """
read write readv writev pread64 pwrite64 lseek close fstat newfstatat stat lstat statx access
faccessat faccessat2 getdents64 getcwd dup dup2 dup3 poll ppoll select pselect6
mmap munmap mprotect mremap brk madvise futex
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack restart_syscall
getpid gettid getppid getuid geteuid getgid getegid getpgid getpgrp getsid getgroups
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage getcpu
sched_getaffinity sched_yield uname sysinfo getrandom exit exit_group
set_robust_list get_robust_list rseq set_tid_address arch_prctl
recvfrom shutdown getsockopt getsockname getpeername getrlimit
"""
"""Compute, manage one's own memory, tell the time, and use descriptors that are open already."""

_PREPARE = """
open openat mkdir mkdirat rename renameat renameat2 unlink unlinkat rmdir ftruncate fallocate
fsync fdatasync flock chdir fchdir umask readlink readlinkat getxattr statfs fstatfs fadvise64
fork wait4 waitid kill tgkill rt_sigtimedwait rt_sigsuspend pause
pipe pipe2 sendto sendmsg recvmsg setsockopt epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2
seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self capset capget setrlimit
timer_create timer_settime timer_delete setitimer getitimer close_range
sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
mbind get_mempolicy set_mempolicy mincore membarrier msync getpriority
"""
"""What the zygote needs besides: files (Landlock says which), children, and to confine them."""

_FORK_FLAGS = 0x01200000 | 0xFF
"""CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID and the exit signal: a plain fork, no thread."""
_NOT_FORK = 0xFFFFFFFF & ~_FORK_FLAGS
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0o20000000
"""With O_TMPFILE's own bit (the flag in ``os`` contains O_DIRECTORY, which reading needs)."""

# asm-generic/ioctls.h: is it a terminal, its size, bytes to read, blocking and inheritance.
# Above all not TIOCSTI, which types into the user's shell.
_IOCTLS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Duplicate, and get or set flags; not F_SETOWN, which sends signals to others.
_FCNTLS = (0, 1, 2, 3, 4, 1030)
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_PREPARE_PRCTLS = (1, 2, 3, 4, 21, 22, 23, 24, 38, 39, 41, 47)
"""Parent death signal, dumpable, seccomp, capability sets, no_new_privs, huge pages."""
_AF_UNIX = 1


def zygote_rules() -> list[Rule]:
    """For the process that imports torch and forks a candidate at a time.

    No program, no socket but a pair of its own, no thread, no namespace, no look into others.
    """
    prctls = (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA, *_PREPARE_PRCTLS)
    return [
        *_plain(_COMPUTE),
        *_plain(_PREPARE),
        *_narrow(prctls),
        Rule("clone", (Condition(0, "clear", (_NOT_FORK,)),)),
        Rule("socketpair", (Condition(0, "one_of", (_AF_UNIX,)),)),
        Rule("prlimit64", (Condition(0, "one_of", (0,)),)),
    ]


def candidate_rules() -> list[Rule]:
    """For the process that runs a candidate's Python: compute, read, answer, end."""
    return [
        *sealed_candidate_rules(),
        Rule("open", (Condition(1, "clear", (_WRITE_FLAGS,)),)),
        Rule("openat", (Condition(2, "clear", (_WRITE_FLAGS,)),)),
    ]


def sealed_candidate_rules() -> list[Rule]:
    """The same where nothing else guards the files: not even reading, as a filter sees no paths."""
    return [
        *_plain(_COMPUTE),
        *_narrow((_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
        # An answer on the connected socket, never a datagram to an address of one's choice.
        Rule("sendto", (Condition(4, "zero"),)),
        Rule("prlimit64", (Condition(0, "one_of", (0,)), Condition(2, "zero"))),
    ]


def _narrow(prctls: tuple[int, ...]) -> list[Rule]:
    return [
        Rule("ioctl", (Condition(1, "one_of", _IOCTLS),)),
        Rule("fcntl", (Condition(1, "one_of", _FCNTLS),)),
        Rule("prctl", (Condition(0, "one_of", prctls),)),
    ]


def _plain(names: str) -> list[Rule]:
    return [Rule(name) for name in names.split()]
