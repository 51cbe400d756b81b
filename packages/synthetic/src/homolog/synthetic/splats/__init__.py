"""Scenes of 3D Gaussians: read or synthetic, rendered with unbiased depth, as pairs of views with labels."""
