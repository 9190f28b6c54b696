"""What every rejection of a hostile input is: one kind of error, short, and readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openevolve_unified.errors import CandidateError


def reasons_of_clean_rejections(
    num_inputs: int, make: Callable[[int], Any], read: Callable[[Any], object]
) -> set[str]:
    """Why ``read`` refused each of the inputs that ``make`` builds from the numbers 0, 1, ...

    Any other error than ``CandidateError`` of the stage ``program``, and accepting an input, fails
    the test under that number.
    """
    errors = []
    for seed in range(num_inputs):
        hostile = make(seed)
        try:
            read(hostile)
        except CandidateError as error:
            errors.append(error)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r} for {str(hostile)[:2_000]}") from error
        else:
            raise AssertionError(f"seed {seed} is accepted: {str(hostile)[:2_000]}")
    assert {error.stage for error in errors} == {"program"}
    reasons = {error.reason for error in errors}
    for reason in reasons:
        assert 0 < len(reason) < 600
        assert reason.isprintable(), ascii(reason)
    return reasons
