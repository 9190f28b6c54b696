"""Exit statuses: what a command says of itself to the shell."""

from __future__ import annotations

DONE = 0
"""All was done; for ``check``: the program was accepted."""
REJECTED = 1
"""The candidate was rejected; for ``redteam``: not all went as it must."""
WRONG = 2
"""The command or its configuration is wrong, or the machine or the model could not finish."""
INTERRUPTED = 130
"""By Ctrl-C, SIGTERM, or a reader that left."""

TEXT = (
    f"{DONE} done (check: accepted); {REJECTED} the program was rejected (replay: something "
    f"differs; redteam: something was missed); {WRONG} the command, its configuration, the "
    f"language model or the machine could not do it, and one line says what; {INTERRUPTED} "
    "interrupted"
)
"""All of them, as every command's ``--help`` says."""
