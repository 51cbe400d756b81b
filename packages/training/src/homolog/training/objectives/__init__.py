"""Objectives: how each family of methods computes its loss terms from a batch."""
