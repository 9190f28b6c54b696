"""One thread for torch in every test process: two of them run side by side on two cores."""

from __future__ import annotations

import gc
import os

import pytest
from scripted_model import ScriptedModel

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
gc.disable()  # until all tests are collected, which takes two thirds of the time then
LONG = ("scenarios", "validation")
"""Folders with the longest files."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that none of them is left alone at the end."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: Python's collector need not walk through them again."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked ``gpu`` are skipped where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU, and torch finds none here")


@pytest.fixture(scope="session")
def one_worker(tmp_path_factory):
    """A machine with one worker on a CPU, for all tests of this process that leave it as it is.

    One of their own would take each file five seconds of processor time to start.
    """
    from openevolve_unified.config.schema import ExecutionConfig
    from openevolve_unified.evaluation.machine import Machine

    execution = ExecutionConfig(device="cpu", num_workers=1)
    with Machine(execution, tmp_path_factory.mktemp("logs")) as machine:
        yield machine


@pytest.fixture
def scripted_model():
    """Start servers that answer from a script: ``scripted_model(answer, answer, ...)``."""
    models = []

    def start(*answers):
        models.append(ScriptedModel(answers))
        return models[-1]

    yield start
    for model in models:
        model.close()
