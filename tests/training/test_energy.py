"""Joules of a job, from counters that are made here: a tree as Linux shows it, and a fake NVML."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from training_jobs import CPU, make_job, repeating_tokens, softmax

from openevolve_unified.execution.processor_time import TICKS_PER_S
from openevolve_unified.records import told_energy, total_joules
from openevolve_unified.training import energy
from openevolve_unified.training.checkpoint import load_checkpoint
from openevolve_unified.training.energy import EnergyMeter, GpuCounter, PackageCounter, counter_of
from openevolve_unified.training.loop import train

RANGE_UJ = 1_000_000_000
GPU = "11111111-2222-3333-4444-555555555555"


class Machine:
    """Two packages with their parts, and the processor time of all cores."""

    def __init__(self, folder):
        self.powercap, self.stat, self.own_s = folder / "powercap", folder / "stat", 0.0
        self._ticks = 0
        for domain, name in {
            "intel-rapl:0": "package-0",
            "intel-rapl:0:0": "core",
            "intel-rapl:1": "package-1",
            "intel-rapl:2": "psys",
            "intel-rapl-mmio:0": "package-0",
        }.items():
            (self.powercap / domain).mkdir(parents=True)
            (self.powercap / domain / "name").write_text(f"{name}\n")
            (self.powercap / domain / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
            self.set_uj(domain, 900_000_000)
        self.work(0.0, 0.0)

    def set_uj(self, domain, microjoules):
        (self.powercap / domain / "energy_uj").write_text(f"{microjoules}\n")

    def work(self, own_s, others_s):
        """This process and others were busy; the cores also idled, and a guest ran in user time."""
        self.own_s += own_s
        self._ticks += round((own_s + others_s) * TICKS_PER_S)
        counts = f"{self._ticks} 0 0 777 888 0 0 0 {self._ticks} 0"
        self.stat.write_text(f"cpu  {counts}\ncpu0 {counts}\n")

    def counter(self):
        return PackageCounter(self.powercap, self.stat, lambda: self.own_s)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_job_gets_of_both_packages_what_it_had_of_the_busy_time(machine):
    counter = machine.counter()
    machine.set_uj("intel-rapl:0", 930_000_000)
    machine.set_uj("intel-rapl:1", 910_000_000)
    machine.set_uj("intel-rapl:2", 999_000_000)
    machine.work(own_s=3.0, others_s=1.0)
    assert counter.take_joules() == pytest.approx(40 * 3 / 4)
    assert counter.take_joules() == 0.0, "each joule once"


def test_jobs_side_by_side_share_out_all_of_it(machine):
    own, other_s = machine.counter(), 2.5
    other = PackageCounter(machine.powercap, machine.stat, lambda: machine.own_s and other_s)
    machine.set_uj("intel-rapl:0", 920_000_000)
    machine.work(own_s=1.5, others_s=other_s)
    assert own.take_joules() + other.take_joules() == pytest.approx(20.0)


def test_a_counter_that_wrapped_around_is_read_on(machine):
    counter = machine.counter()
    machine.set_uj("intel-rapl:0", 50_000_000)
    machine.work(own_s=1.0, others_s=0.0)
    assert counter.take_joules() == pytest.approx(150.0)


@pytest.mark.parametrize("state", ["readable", "missing", "locked"])
def test_a_cpu_without_readable_counters_tells_nothing(machine, monkeypatch, state):
    if state == "locked":
        for domain in machine.powercap.iterdir():  # root reads what nobody may, but no folder
            (domain / "energy_uj").unlink()
            (domain / "energy_uj").mkdir()
    powercap = machine.powercap if state != "missing" else machine.powercap / "none"
    monkeypatch.setattr(energy, "POWERCAP", powercap)
    monkeypatch.setattr(energy, "PROC_STAT", machine.stat)
    assert (counter_of(CPU, lambda: 1) is None) == (state != "readable")


class Nvml:
    """As much of the library as is asked; fails from ``calls_left`` readings on."""

    def __init__(self, status=0, calls_left=math.inf):
        self.millijoules, self.status, self.calls_left = 10**12, status, calls_left

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        return 0 if name == f"GPU-{GPU}".encode() else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, found):
        self.calls_left -= 1
        found._obj.value = self.millijoules
        return self.status if self.calls_left >= 0 else 15


@pytest.mark.parametrize("uuid", [GPU, f"GPU-{GPU}"])
def test_jobs_on_one_gpu_get_equal_parts_of_it(uuid):
    nvml, sharing = Nvml(), [2]
    counter = GpuCounter(uuid, lambda: sharing[0], nvml)
    nvml.millijoules += 50_000
    assert counter.take_joules() == pytest.approx(25.0)
    sharing[0] = 1
    nvml.millijoules += 10_000
    assert counter.take_joules() == pytest.approx(10.0)


def test_a_gpu_that_has_no_counter_or_is_not_found_tells_nothing(monkeypatch):
    with pytest.raises(OSError, match="nvmlDeviceGetTotalEnergyConsumption of NVML gave 3"):
        GpuCounter(GPU, lambda: 1, Nvml(status=3))
    with pytest.raises(OSError, match="nvmlDeviceGetHandleByUUID of NVML gave 6"):
        GpuCounter("other", lambda: 1, Nvml())
    properties = SimpleNamespace(uuid=GPU)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    libraries = {"libnvidia-ml.so.1": Nvml()}
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: libraries[name])
    assert counter_of(torch.device("cuda"), lambda: 1) is not None
    libraries["libnvidia-ml.so.1"] = Nvml(status=3)
    assert counter_of(torch.device("cuda"), lambda: 1) is None


def test_a_device_that_stops_telling_leaves_no_part_of_the_truth():
    nvml = Nvml(calls_left=2)
    meter = EnergyMeter(GpuCounter(GPU, lambda: 1, nvml))
    nvml.millijoules += 5_000
    assert meter.read() == pytest.approx(5.0)
    assert meter.read() is None
    assert meter.read() is None


def test_the_record_of_a_training_has_its_energy_over_all_its_sessions(tmp_path):
    class Steady:
        """A joule each time it is asked."""

        def take_joules(self):
            return 1.0

    class Stopped(Exception):
        pass

    def trained(counter, stop_at=None):
        def progress(report):
            if report.step == stop_at:
                raise Stopped

        arguments = (job, softmax, repeating_tokens(), CPU, progress, tmp_path / "checkpoint")
        return train(*arguments, lambda model: "f", checkpoint_interval_s=0.0, energy=counter)

    job = make_job()
    with pytest.raises(Stopped):
        trained(Steady(), stop_at=15)
    so_far = load_checkpoint(tmp_path / "checkpoint", job.key).energy_joules
    assert so_far == 14.0, "a checkpoint after every step"
    assert trained(Steady()).energy_joules > so_far + 20
    assert trained(None).energy_joules is None, "one session was not told"
    (tmp_path / "checkpoint").unlink()
    assert trained(None).energy_joules is None


def test_a_sum_is_told_only_where_every_run_is():
    assert told_energy(total_joules([1800.0, 1800.0])) == "1 Wh"
    assert total_joules([1800.0, None]) is None
    assert told_energy(total_joules([])) == "not told by this device"
