"""Validation: what must be true before a winner of the search is called a finding."""
