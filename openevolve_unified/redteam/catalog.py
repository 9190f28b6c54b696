"""Every cheat, in the order in which they are shown."""

from __future__ import annotations

from openevolve_unified.redteam.cheat import Cheat
from openevolve_unified.redteam.programs import (
    batch_and_state,
    budget,
    forgery,
    hidden_leaks,
    open_leaks,
    resources,
    tampering,
    trained,
    wrong_form,
)

CHEATS: tuple[Cheat, ...] = (
    *open_leaks.CHEATS,
    *hidden_leaks.CHEATS,
    *batch_and_state.CHEATS,
    *budget.CHEATS,
    *tampering.CHEATS,
    *forgery.CHEATS,
    *wrong_form.CHEATS,
    *resources.CHEATS,
    *trained.CHEATS,
)
