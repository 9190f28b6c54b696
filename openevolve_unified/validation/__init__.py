"""Validation: from a winner to a finding that others can repeat."""
