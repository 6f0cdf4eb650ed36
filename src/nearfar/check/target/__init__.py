"""Running a stranger's function: what it is called on, in what process, and what comes back."""
