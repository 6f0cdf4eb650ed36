"""Losses as people write them, which `nearfar check` is tried on."""
