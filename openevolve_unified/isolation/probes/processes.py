"""Attempts to start something, to reach other processes, and to outlive one's end."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time

from openevolve_unified.isolation import syscalls
from openevolve_unified.isolation.probes.probe import ESCAPED_STATUS, READY, Attempt, Bait, Probe

_NUM_FORKS, _NUM_THREADS = 8, 16
_OVERTIME_S = 1.5
_OVERTIME_CPU_S = 1.8
_GRANTED_S = 0.5
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def _wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork(bait: Bait) -> str:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return f"a child ended with {_wait_for(pid)}"


def _fork_bomb(bait: Bait) -> str:
    children = []
    for _ in range(_NUM_FORKS):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.2)
            os._exit(0)
        children.append(pid)
    for pid in children:
        _wait_for(pid)
    return f"{len(children)} children at once"


def _raw_clone(bait: Bait) -> str:
    pid = syscalls.call("clone", int(signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return f"a child ended with {_wait_for(pid)}"


def _thread(bait: Bait) -> str:
    said: list[str] = []
    thread = threading.Thread(target=said.append, args=("a thread ran",))
    thread.start()
    thread.join()
    return said[0]


def _thread_bomb(bait: Bait) -> str:
    release = threading.Event()
    threads = [threading.Thread(target=release.wait, args=(5,)) for _ in range(_NUM_THREADS)]
    try:
        for thread in threads:
            thread.start()
        return f"{threading.active_count() - 1} threads at once"
    finally:
        release.set()


def _session_grandchild(bait: Bait) -> str:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            bait.answer("a grandchild runs in a session of its own")
        os._exit(0)
    _wait_for(pid)
    return ""


def _own_session(bait: Bait) -> str:
    os.setsid()
    return "left the process group"


def _execute(bait: Bait) -> str:
    answer = shlex.quote('{"evidence": "a shell ran"}')
    os.set_inheritable(bait.answer_descriptor, True)
    os.execv("/bin/sh", ["sh", "-c", f"echo {answer} >&{bait.answer_descriptor}"])


def _spawn(bait: Bait) -> str:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {})
    return f"a shell ended with {_wait_for(pid)}"


def _subprocess(bait: Bait) -> str:
    return subprocess.check_output(["/bin/sh", "-c", "echo a shell ran"], text=True).strip()


def _execute_from_memory(bait: Bait) -> str:
    file = os.memfd_create("program")
    with open("/bin/sh", "rb") as shell:
        os.write(file, shell.read())
    answer = shlex.quote('{"evidence": "a program ran from memory"}')
    os.set_inheritable(bait.answer_descriptor, True)
    arguments = ["sh", "-c", f"echo {answer} >&{bait.answer_descriptor}"]
    os.execve(file, arguments, {})


def _signal_parent(bait: Bait) -> str:
    os.kill(bait.keeper_pid, 0)
    return "the parent can be signalled"


def _continue_parent(bait: Bait) -> str:
    os.kill(bait.keeper_pid, signal.SIGCONT)
    return "the parent got a signal"


def _signal_by_descriptor(bait: Bait) -> str:
    process = os.pidfd_open(bait.keeper_pid)
    signal.pidfd_send_signal(process, signal.SIGCONT)
    return "the parent got a signal"


def _raise_limits(bait: Bait) -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return "set a limit"


def _become_dumpable(bait: Bait) -> str:
    syscalls.call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
    return "opened itself to others"


def _survive_parent(bait: Bait) -> str:
    syscalls.call("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)
    return "would outlive its parent"


def _disarm_deadline(bait: Bait) -> str:
    number = ctypes.cast(ctypes.create_string_buffer(8), ctypes.c_void_p)
    timer = syscalls.call("timer_create", 1, None, number)
    for other in range(timer + 1):
        syscalls.call("timer_delete", other)
    return "deleted the timers"


def _sleep_on(bait: Bait) -> str:
    time.sleep(_OVERTIME_S)
    return "slept past the deadline"


def _ignore_termination(bait: Bait) -> str:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGXCPU, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    os.write(bait.answer_descriptor, READY)
    time.sleep(_OVERTIME_S)
    return "ignored SIGTERM"


def _hang_at_exit(bait: Bait) -> str:
    def linger() -> None:
        time.sleep(_OVERTIME_S)
        bait.answer("hung at exit")

    atexit.register(linger)
    sys.exit(0)


def _close_and_linger(bait: Bait) -> str:
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    os.close(bait.answer_descriptor)
    time.sleep(_OVERTIME_S)
    os._exit(ESCAPED_STATUS)


def _spin(bait: Bait) -> str:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    while time.process_time() < _OVERTIME_CPU_S:
        pass
    return "used processor time past its limit"


def _probe(name: str, attempt: Attempt, excuse: str = "") -> Probe:
    return Probe(name=name, family="processes", attempt=attempt, excuse=excuse)


def _lasting(name: str, attempt: Attempt, terminate: bool = False) -> Probe:
    return Probe(
        name=name,
        family="lifetime",
        attempt=attempt,
        deadline_s=_GRANTED_S,
        terminate=terminate,
    )


PROBES = (
    _probe("fork", _fork),
    _probe("fork bomb", _fork_bomb),
    _probe("clone by system call", _raw_clone),
    _probe("start a thread", _thread),
    _probe("thread bomb", _thread_bomb),
    _probe("leave a grandchild in another session", _session_grandchild),
    _probe("leave the process group", _own_session),
    _probe("execute a program", _execute),
    _probe("spawn a program", _spawn),
    _probe("run a subprocess", _subprocess),
    _probe("execute a program from memory", _execute_from_memory),
    _probe("signal the parent", _signal_parent),
    _probe("send the parent SIGCONT", _continue_parent),
    _probe("signal the parent by descriptor", _signal_by_descriptor),
    _probe("change its limits", _raise_limits),
    _probe("open itself to debuggers", _become_dumpable),
    _probe("refuse to die with the parent", _survive_parent),
    _probe("disarm the deadline", _disarm_deadline),
    _lasting("sleep past the deadline", _sleep_on),
    _lasting("ignore SIGTERM", _ignore_termination, terminate=True),
    _lasting("hang at exit", _hang_at_exit),
    _lasting("close everything and linger", _close_and_linger),
    Probe(name="spin past the processor limit", family="lifetime", attempt=_spin),
)
