"""Controls that nobody ran: three runs of each arm, with the gains that they are to have."""

from __future__ import annotations

from made_judge import MadeJudge

from openevolve_unified.calibration.controls import (
    GRAMMAR,
    LUCK,
    TUNING,
    ArmRun,
    ControlReport,
    make_report,
)

GAINS = {LUCK: (0.0, 0.0, 0.0), TUNING: (0.01, 0.0, 0.02), GRAMMAR: (0.06, 0.07, 0.08)}


def made_control(gains=GAINS) -> ControlReport:
    """Confirmed gains by arm; those that were selected are higher by 0.02."""
    runs = [
        ArmRun(
            key="k",
            arm=arm,
            number=number,
            winner="abc",
            is_initial=arm == LUCK,
            selected_gain=gain + 0.02,
            confirmed_gains=(gain, gain),
            confirmed_loss_gains_nats=(gain / 2, gain / 2),
            unconfirmed_because=None,
            num_evaluations=6,
            num_trained=5,
        )
        for number in (1, 2, 3)
        for arm, gain in ((arm, own[number - 1]) for arm, own in gains.items())
    ]
    return make_report(runs, MadeJudge(lambda source: 0.0, (7, 8)), 6)
