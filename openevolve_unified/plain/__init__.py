"""Plain data: canonical JSON, strict reading, whole files, and locks."""
