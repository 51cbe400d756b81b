"""Backbone + detector + head = method; parts arrive by constructor."""
