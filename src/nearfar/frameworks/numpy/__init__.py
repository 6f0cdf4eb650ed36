"""NumPy: operations in place, threads over tiles."""
