"""Configuration: what may be said (schema), strictly read (strict), from one file (experiment)."""
