"""The work of one evaluation: workers, events and the pipeline from source text to a verdict."""
