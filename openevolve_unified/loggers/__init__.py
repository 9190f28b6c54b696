"""Loggers: a run's numbers where others' viewers read them; see ``follow``."""
