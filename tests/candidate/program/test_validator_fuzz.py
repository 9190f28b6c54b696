"""Ten thousand malformed and hostile programs: each is a clean rejection, and nothing is run.

The default tests take the first fifth of each family, the slow ones all of it.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hostile_programs import FAMILIES, HONEST, MAX_NODES
from rejections import reasons_of_clean_rejections

from openevolve_unified.candidate.program.graph import program_from_json
from openevolve_unified.candidate.program.validate import (
    ProgramInterface,
    ValidProgram,
    validate_program,
)
from openevolve_unified.config.schema import SizeConfig

INTERFACE = ProgramInterface(
    framework="matrix_mixer",
    size=SizeConfig(hidden_dim=8, num_layers=1, num_heads=2),
    time=8,
    parameters=(torch.zeros(3),),
    constants=(torch.zeros(2, dtype=torch.int64),),
    literals=(),
)
MAX_CPU_S = 5.0
"""Of one program; an honest one takes a millisecond."""
MAX_GROWTH_BYTES = 256 * 2**20
"""Address space that validation may claim; the programs claim up to 2**62 elements."""


def validate(data: object) -> ValidProgram:
    return validate_program(program_from_json(data, MAX_NODES), INTERFACE)


@pytest.fixture(scope="module", autouse=True)
def bounded() -> Iterator[None]:
    """An allocation by claimed size fails, a hang is interrupted; both fail the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operators in HONEST.values():  # torch loads parts of itself on first use
            validate(copy.deepcopy(operators))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + MAX_GROWTH_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def clock() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise TimeoutError(f"one program took more than {MAX_CPU_S} CPU seconds")

    before = signal.signal(signal.SIGPROF, interrupt)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("name", HONEST)
def test_an_unmutated_program_is_accepted(name):
    program = json.loads(json.dumps(HONEST[name]))
    assert validate(program).flops_per_sequence > 0


@pytest.mark.parametrize("share", [0.2, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_hostile_program_is_a_clean_rejection(family, share, clock):
    count, words = FAMILIES[family]

    def make(seed: int) -> object:
        rng = random.Random(f"{family.__name__} {seed}")
        return family(rng, copy.deepcopy(rng.choice(list(HONEST.values()))))

    def read(program: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S)
        validate(program)

    reasons = reasons_of_clean_rejections(int(share * count), make, read)
    assert not any("allocate" in reason for reason in reasons), "an allocation was tried"
    assert any(words in reason for reason in reasons), reasons


def test_there_are_ten_thousand_hostile_programs():
    assert sum(count for count, _ in FAMILIES.values()) >= 10_000
