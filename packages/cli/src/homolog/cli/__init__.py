"""The command `homolog`."""
