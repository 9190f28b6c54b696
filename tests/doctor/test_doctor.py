"""The doctor: a fault is told with its cure, what others want is a note, no key is shown."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from json_keys import undocumented

from openevolve_unified.cli.app import main
from openevolve_unified.doctor import machine as machines
from openevolve_unified.doctor.experiment import examined_experiment, folders, keys
from openevolve_unified.doctor.machine import machine
from openevolve_unified.doctor.observation import Observation, is_healthy
from openevolve_unified.doctor.packages import EXTRAS, packages
from openevolve_unified.errors import MachineError
from openevolve_unified.isolation.report import ESSENTIAL_LAYERS, IsolationReport, unconfined

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
FULL_EXPERIMENT = ROOT / "configs" / "matrix_mixer.yaml"
FULL = IsolationReport(layers=tuple(sorted(ESSENTIAL_LAYERS)))


class Child:
    """Stands in for the tracing child."""

    def __init__(self, start):
        self.start = start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def confined(monkeypatch):
    """Let the tracing child say that it is confined like this; an error is raised."""

    def confine(report):
        def start():
            if isinstance(report, Exception):
                raise report
            return report

        monkeypatch.setattr(machines, "Tracer", lambda: Child(start))

    return confine


def by_name(observations):
    return {one.name: one for one in observations}


def test_a_machine_that_can_do_the_main_job_is_healthy(capsys):
    assert main(["doctor", "--json"]) == 0
    *lines, report = capsys.readouterr().out.splitlines()
    report = json.loads(report)
    assert undocumented("doctor", report) == []
    assert report["healthy"] is True
    assert lines[-1].startswith("the main job can run here")
    assert len(lines) == len(report["observations"]) + 1, "one line each"
    topics = {one["topic"] for one in report["observations"]}
    assert topics == {
        *("package", "extra", "config", "key", "folder", "device", "process", "isolation")
    }
    installed = {one["name"] for one in report["observations"] if one["topic"] == "package"}
    assert {"python", "torch", "openevolve", "scipy"} <= installed


@pytest.mark.parametrize(
    ("installed", "level"), [("2.10.0", "fault"), ("2.11.0+cpu", "ok"), (None, "fault")]
)
def test_a_package_that_is_missing_or_too_old_is_a_fault_with_its_cure(
    installed, level, monkeypatch
):
    real = importlib.metadata.version

    def version(name):
        if name != "torch":
            return real(name)
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(packages())["torch"]
    assert found.level == level
    assert found.mend == (None if level == "ok" else "pip install 'torch>=2.11'")
    assert (installed or "not installed") in found.text


@pytest.mark.parametrize("lost", ["packaging", "openevolve-unified", "scipy"])
def test_a_package_that_is_lost_is_said_without_what_would_import_it(lost, monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == lost:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert main(["doctor"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("the main job cannot run here")
    assert [line for line in lines if line.startswith(f"fault  {lost}: not installed")]
    assert not any("isolation" in line for line in lines), "that would have to import them"


def test_every_extra_says_what_it_is_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"test"}


def test_a_missing_extra_is_a_note_that_names_its_use(monkeypatch):
    def version(name):
        if name == "ray":
            raise importlib.metadata.PackageNotFoundError(name)
        return "99"

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(one for one in packages() if one.topic == "extra")
    assert found["ray"].line == (
        f"note   ray: ray missing; for {EXTRAS['ray']}; pip install 'openevolve-unified[ray]'"
    )
    assert (found["plot"].level, found["plot"].mend) == ("ok", None)


@pytest.mark.parametrize(("needs_full", "level"), [(False, "note"), (True, "fault")])
def test_weak_isolation_is_a_fault_only_where_a_language_model_writes(needs_full, level, confined):
    confined(unconfined("the kernel has none", ("landlock",)))
    found = by_name(machine(needs_full))
    assert found["isolation"].level == level
    assert "--allow-degraded-isolation" in found["isolation"].mend
    assert found["landlock"].text == "missing: the kernel has none"
    confined(FULL)
    found = by_name(machine(needs_full))
    assert (found["isolation"].level, found["isolation"].mend) == ("ok", None)
    assert "landlock" in found["isolation"].text


def test_a_tracing_child_that_cannot_start_is_a_fault(confined):
    confined(MachineError("no processes left"))
    found = by_name(machine())
    assert found["tracing child"].line == "fault  tracing child: cannot start: no processes left"


def test_a_driver_without_a_usable_gpu_is_a_note(confined, monkeypatch):
    def torch_with(*gpus):
        cuda = SimpleNamespace(
            device_count=lambda: len(gpus), get_device_properties=gpus.__getitem__
        )
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    confined(FULL)
    monkeypatch.setattr(machines, "has_gpu_driver", lambda: False)
    assert by_name(machine())["gpu"].level == "ok"
    monkeypatch.setattr(machines, "has_gpu_driver", lambda: True)
    torch_with()
    assert by_name(machine())["gpu"].level == "note"
    torch_with(SimpleNamespace(name="A GPU", total_memory=80 * 2**30))
    assert by_name(machine())["cuda:0"].text == "A GPU, 80 GiB"


def test_a_key_is_present_or_not_and_never_shown(monkeypatch):
    experiment, _ = examined_experiment(FULL_EXPERIMENT)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (found,) = keys(experiment)
    assert (found.level, found.text) == ("ok", "set")
    assert "secret" not in found.line
    monkeypatch.delenv("OPENAI_API_KEY")
    (found,) = keys(experiment)
    assert found.level == "fault"
    assert "export OPENAI_API_KEY" in found.mend
    (found,) = keys(examined_experiment(None)[0])
    assert found.level == "ok", "the quickstart needs none"


def test_a_wrong_config_is_a_fault(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(QUICKSTART.read_text().replace("scaling_law:", "scaling_lw:"))
    experiment, found = examined_experiment(path)
    assert experiment is None
    assert found.level == "fault"
    assert "scaling_law" in found.text
    assert examined_experiment(QUICKSTART)[1].level == "ok"


def test_folders_are_told_with_their_sizes_and_whether_they_can_be_written(monkeypatch, tmp_path):
    experiment, _ = examined_experiment(QUICKSTART)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (found,) = folders(experiment, has_store=False)
    assert (found.level, found.name) == ("ok", "data cache")
    assert "made when it is first used" in found.text
    place = tmp_path / "openevolve-unified" / "deep"
    place.mkdir(parents=True)
    (place / "data.npy").write_bytes(bytes(3 * 2**20))
    (found,) = folders(experiment, has_store=False)
    assert "3.0 MiB in 1 file," in found.text
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache, store = folders(experiment, has_store=True)
    assert (cache.level, store.name) == ("fault", "store")
    assert "cannot be written" in cache.text
    assert "XDG_CACHE_HOME" in cache.mend


def test_notes_leave_a_machine_healthy_and_one_fault_does_not():
    note = Observation(topic="extra", name="x", level="note", text="missing")
    assert is_healthy([note])
    assert not is_healthy([note, Observation(topic="key", name="y", level="fault", text="no")])
