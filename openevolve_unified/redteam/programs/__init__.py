"""The cheats, one module per kind."""
