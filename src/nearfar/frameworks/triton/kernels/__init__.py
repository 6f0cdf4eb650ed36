"""The kernels, which are Triton programs and no Python: see `layout` for what they share."""
