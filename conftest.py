"""Triton exists for Linux only: without it its kernels are no modules to look for doctests in."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["src/nearfar/frameworks/triton/*"]
