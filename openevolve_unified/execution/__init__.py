"""Execution: workers, their channels and their ends, on this machine or on a cluster."""
