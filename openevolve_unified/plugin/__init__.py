"""What OpenEvolve touches: the evaluator, the evolution run, the proposer."""
