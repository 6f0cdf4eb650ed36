"""What every loss means: plain float64 loops read off the papers, sharing no code with nearfar.

`dense` states the same losses as differentiable n x n formulas and is itself held to the loops.
"""
