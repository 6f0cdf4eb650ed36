"""Whether a function is sound: its gradient, its limits, its cost."""
