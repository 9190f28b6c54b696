"""Plain data: canonical JSON, strict reading, and files that appear whole or not at all."""
