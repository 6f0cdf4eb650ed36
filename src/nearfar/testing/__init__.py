"""Holds a loss to what every built-in loss is held to."""

from nearfar.testing.checking import Report, check_loss

__all__ = ["Report", "check_loss"]
