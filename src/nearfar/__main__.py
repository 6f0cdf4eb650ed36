"""``python -m nearfar``: the command line."""

from nearfar.cli import main

main()
