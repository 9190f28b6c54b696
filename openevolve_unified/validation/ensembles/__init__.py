"""Ensembles of a run's best mechanisms, from kept weights."""
