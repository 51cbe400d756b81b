"""One file for each command, with `add_arguments` and `run`."""
