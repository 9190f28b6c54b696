"""One thread for torch in every test process: two of them run side by side on two cores."""

from __future__ import annotations

import os

import pytest
from scripted_model import ScriptedModel

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
LONG = ("scenarios", "validation")
"""Folders with the longest files."""


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: a test that waits for its processes leaves one idle."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that none of them is left alone at the end."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked ``gpu`` are skipped where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA GPU, and torch finds none here")


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
