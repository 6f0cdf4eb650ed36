"""Dense baselines, written once for each framework: one similarity matrix, log-sum-exp, no loop."""
