"""Calibration: how far the instrument itself can be trusted."""
