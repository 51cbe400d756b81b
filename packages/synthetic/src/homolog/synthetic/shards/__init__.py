"""Samples on disk: plain tar files with one index, written once, resumed after a kill, verified by making them again."""
