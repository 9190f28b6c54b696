"""Answering: the model's client, its answer, what was wrong with it, and the program in it."""
