"""Other people's losses, as far as they are installed."""
