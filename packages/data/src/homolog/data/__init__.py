"""Data sets: benchmarks in their official layouts, as samples of `homolog.core`."""
