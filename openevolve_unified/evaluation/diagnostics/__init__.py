"""Diagnostics of trained weights: what they learnt, how they mix, and how far they carry."""
