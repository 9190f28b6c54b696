"""Runs: the folder of a run, its events, and the templates that a new one starts from."""
