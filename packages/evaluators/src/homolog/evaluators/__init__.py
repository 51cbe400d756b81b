"""Evaluators: scores of matches, points, poses and tracks, each under the name of its protocol."""
