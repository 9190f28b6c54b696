"""Validation: from a winner to a finding; comparisons, ensembles and the experiment record."""
