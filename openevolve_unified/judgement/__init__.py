"""Judgement: fits, scores and verdicts as pure functions of records; no torch and no files."""
