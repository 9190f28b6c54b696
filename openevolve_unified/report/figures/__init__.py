"""The figures of the report: what they show as tables and words, and how they are drawn."""
