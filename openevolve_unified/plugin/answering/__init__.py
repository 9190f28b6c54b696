"""From a question to a program: the model's client, its answer, and what was wrong with it."""
