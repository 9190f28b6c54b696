"""Report: what people see of a run, read from its records; nothing is decided here."""
