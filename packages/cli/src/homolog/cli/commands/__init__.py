"""One module for each command of `homolog`."""
