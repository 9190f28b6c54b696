"""Is an evolved attention mechanism real? Scaling-law fitness for OpenEvolve."""

__version__ = "0.1.0"
