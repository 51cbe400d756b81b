"""One category per file: its constant CATEGORY says everything about it."""
