"""The red team: programs that cheat or break, run against the real evaluator beside honest ones."""
