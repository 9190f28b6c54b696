"""A noise floor that nobody measured, for tests of what is made of one."""

from __future__ import annotations

import dataclasses

import numpy as np

from openevolve_unified.calibration.noise_record import MeasuredNoise

NUM_PARAMS = (25_000.0, 57_000.0, 100_000.0, 223_000.0)
LAW = np.array([1.30, 1.16, 1.12, 1.06])


def made_noise(sd: float = 0.01, num_seeds: int = 6, **changes) -> MeasuredNoise:
    """Of the quickstart's ladder, with a twin and two readings; ``changes`` are fields."""
    random = np.random.default_rng(3)
    luck, chaos = random.normal(size=(2, num_seeds, 4)) * sd
    baseline, twin = LAW + luck, LAW + luck + chaos / 2
    early = baseline + 0.1 + random.normal(size=(num_seeds, 4)) * 10 * sd
    noise = MeasuredNoise(
        settings={"scaling_law.framework": "made"},
        data_settings={},
        horizon="pilot, 750 of 100,000 steps",
        sizes=("32x2", "48x2", "64x2", "96x2"),
        num_params=NUM_PARAMS,
        seeds=tuple(range(num_seeds)),
        baseline={"last": baseline.tolist(), "mean of the last 2 evaluations": early.tolist()},
        twin={"last": twin.tolist()},
    )
    return dataclasses.replace(noise, **changes)
