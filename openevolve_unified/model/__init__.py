"""The fixed causal transformer around a candidate's mechanism; nothing here may evolve."""
