"""Samples on disk: plain tar files that are written once, resumed after a kill, and checked by making them again."""
