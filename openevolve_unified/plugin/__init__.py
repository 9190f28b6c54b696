"""The plugin: what OpenEvolve touches, which is the evaluator, the evolution run, the proposer."""
