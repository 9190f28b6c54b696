"""Training one model: a job in, a record out, resumable in between."""
