"""Scenes of 3D Gaussians: read, made up, rendered with depths that labels can be made of."""
