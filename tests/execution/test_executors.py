"""Both executors keep what an executor promises."""

from __future__ import annotations

import importlib.util

import pytest
from executor_test_case import ExecutorTestCase

from openevolve_unified.config.schema import ExecutionConfig
from openevolve_unified.execution.cluster.pool import RayPool
from openevolve_unified.execution.pool import WorkerPool


class TestWorkerPool(ExecutorTestCase):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, tmp_path_factory):
        log_path = tmp_path_factory.mktemp("workers") / "workers.log"
        executor = WorkerPool(2, log_path, "execution.tasks.echo")
        yield executor
        executor.close()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
class TestRayPool(ExecutorTestCase):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, tmp_path_factory):
        log_path = tmp_path_factory.mktemp("ray") / "workers.log"
        executor = RayPool(ExecutionConfig(backend="ray", num_workers=2), log_path)
        yield executor
        executor.close()
