"""What each step of the jail leaves open and what it closes, layer by layer."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from openevolve_unified.isolation import landlock


def _has_landlock() -> bool:
    try:
        return landlock.abi_version() >= 1
    except OSError:
        return False


needs_landlock = pytest.mark.skipif(not _has_landlock(), reason="the kernel offers no Landlock")


@needs_landlock
def test_the_zygote_may_write_its_scratch_folder_and_nothing_else(run_fresh, tmp_path):
    for name in ("scratch", "outside"):
        (tmp_path / name).mkdir()
    found = run_fresh(f"""
        scratch, outside = Path({str(tmp_path / "scratch")!r}), Path({str(tmp_path / "outside")!r})
        report = jail.confine_zygote(scratch, ours, Limits(file_bytes=4096))
        print(json.dumps({{
            "level": report.level,
            "inside": outcome(lambda: (scratch / "a").write_text("x")),
            "too large": outcome(lambda: (scratch / "b").write_bytes(b"x" * 8192)),
            "outside": outcome(lambda: (outside / "a").write_text("x")),
            "move out": outcome(lambda: (scratch / "a").rename(outside / "a")),
            "null": outcome(lambda: Path(os.devnull).write_text("x")),
        }}))
    """)
    assert found == {
        "level": "full",
        "inside": "worked",
        "too large": "OSError",
        "outside": "PermissionError",
        "move out": "PermissionError",
        "null": "worked",
    }
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_zygote_may_fork_but_not_thread_execute_or_connect(run_fresh):
    found = run_fresh("""
        import _thread, socket
        jail.confine_zygote(None, ours, Limits())
        print(json.dumps({
            "fork": in_candidate(lambda: "alive")["found"],
            "pair": outcome(socket.socketpair),
            "thread": outcome(lambda: _thread.start_new_thread(print, ())),
            "socket": outcome(socket.socket),
            "execute": outcome(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"])),
        }))
    """)
    assert found == {
        "fork": "alive",
        "pair": "worked",
        "thread": "RuntimeError",
        "socket": "PermissionError",
        "execute": "PermissionError",
    }


@needs_landlock
def test_a_candidate_reads_the_library_but_not_the_user_also_when_the_venv_is_in_the_home(
    run_fresh, tmp_path
):
    home = tmp_path / "home"
    venv.create(home / "venv", symlinks=True, with_pip=False)
    (home / "secret.txt").write_text("planted")
    found = run_fresh(
        f"""
        secret = Path({str(home / "secret.txt")!r})
        before = outcome(secret.read_text)
        jail.confine_zygote(None, ours, Limits())
        def work():
            import colorsys
            return {{
                "library": colorsys.__name__,
                "secret": outcome(secret.read_text),
                "home": outcome(lambda: os.listdir(secret.parent)),
                "packages": outcome(lambda: os.listdir(readable.sysconfig.get_paths()["purelib"])),
            }}
        print(json.dumps({{"before": before, **in_candidate(work)["found"]}}))
        """,
        python=str(home / "venv" / "bin" / "python"),
        environment={"HOME": str(home)},
    )
    assert found == {
        "before": "worked",
        "library": "colorsys",
        "secret": "PermissionError",
        "home": "PermissionError",
        "packages": "worked",
    }


def test_without_landlock_the_filter_opens_nothing_and_the_report_says_so(run_fresh, tmp_path):
    (tmp_path / "secret.txt").write_text("planted")
    found = run_fresh(f"""
        def refuse(grants): raise OSError("not offered")
        landlock.restrict = refuse
        zygote = jail.confine_zygote(None, ours, Limits())
        secret = Path({str(tmp_path / "secret.txt")!r})
        answer = in_candidate(lambda: outcome(secret.read_text))
        print(json.dumps([zygote.to_plain(), outcome(secret.read_text), answer]))
    """)
    zygote, before, answer = found
    assert before == "worked"
    assert answer["found"] == "PermissionError"
    for report in (zygote, answer["report"]):
        assert report["level"] == "partial"
        assert {"name": "landlock", "reason": "not offered"} in report["missing"]


def test_without_any_wall_the_level_is_none(run_fresh):
    found = run_fresh("""
        def refuse(*arguments): raise OSError("not offered")
        landlock.restrict = seccomp.install = refuse
        jail.confine_zygote(None, ours, Limits())
        print(json.dumps(in_candidate(lambda: "alive")))
    """)
    assert found["found"] == "alive"
    assert found["report"]["level"] == "none"
    missing = {layer["name"] for layer in found["report"]["missing"]}
    assert missing == {"landlock", "seccomp"}


def test_a_candidate_keeps_the_named_descriptors_only(run_fresh):
    found = run_fresh("""
        kept, lost = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
        reader, writer = os.pipe()
        zygote = os.getpid()
        if os.fork() == 0:
            jail.confine_candidate(zygote, (writer, kept), ours, Limits())
            answer = [outcome(lambda: os.read(kept, 1)), outcome(lambda: os.read(lost, 1))]
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.wait()
        print(os.read(reader, 4096).decode())
    """)
    assert found == ["worked", "OSError"]


def test_the_memory_bound_lets_a_modest_candidate_live(run_fresh):
    found = run_fresh("""
        jail.confine_zygote(None, ours, Limits())
        limits = Limits(data_bytes=64 * 2**20, shared_bytes=0)
        work = lambda: [outcome(lambda: bytearray(n * 2**20)) for n in (16, 128)]
        print(json.dumps(in_candidate(work, limits)["found"]))
    """)
    assert found == ["worked", "MemoryError"]


def test_a_candidate_dies_with_its_zygote(tmp_path, run_fresh):
    source = """
        import signal, time
        reader, writer = os.pipe()
        zygote = os.fork()
        if zygote == 0:
            jail.confine_zygote(None, ours, Limits())
            me = os.getpid()
            candidate = os.fork()
            if candidate == 0:
                jail.confine_candidate(me, (writer,), ours, Limits())
                os.write(writer, b"!")
                time.sleep(60)
                os._exit(0)
            os.waitpid(candidate, 0)
            os._exit(0)
        os.close(writer)
        os.read(reader, 1)
        os.kill(zygote, signal.SIGKILL)
        os.waitpid(zygote, 0)
        # The candidate holds the last write end: the end of the file is the end of the candidate.
        started = time.monotonic()
        assert os.read(reader, 1) == b""
        print(json.dumps(time.monotonic() - started < 30))
    """
    assert run_fresh(source) is True


def test_a_process_whose_parent_is_gone_already_ends_at_once(run_fresh):
    found = run_fresh("""
        from openevolve_unified.isolation import privileges
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            privileges.die_with(1 if os.getppid() != 1 else 2)
            os.write(writer, b"alive")
            os._exit(0)
        os.close(writer)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps([os.read(reader, 10).decode(), status]))
    """)
    assert found == ["", 1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root has powers to give up")
def test_root_gives_up_its_powers(run_fresh):
    found = run_fresh("""
        from openevolve_unified.isolation import privileges
        def effective():
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(line.split()[1] for line in lines if line.startswith("CapEff"))
        privileges.drop_capabilities_but_reading()
        reading = effective()
        privileges.drop_all_capabilities()
        print(json.dumps([int(reading, 16), int(effective(), 16)]))
    """)
    assert found[0] in (0, 4)
    assert found[1] == 0


def test_confining_does_not_need_the_parents_environment(tmp_path):
    """The package's jail imports nothing but the standard library."""
    root = Path(landlock.__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); "
        "import openevolve_unified.isolation.jail; "
        "heavy = {'torch', 'numpy', 'openevolve', 'yaml'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-I", "-B", "-c", code], check=True, env={})
