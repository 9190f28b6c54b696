"""Tracing: the trusted side asks a confined child, whose code is in ``inside``, for plain data."""
