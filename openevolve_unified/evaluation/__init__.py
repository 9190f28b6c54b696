"""Evaluation: from source text to a verdict, over the stages that ``pipeline`` names."""
