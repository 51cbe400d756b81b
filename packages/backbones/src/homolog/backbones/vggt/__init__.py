"""VGGT: one transformer for one, two or many views of a scene; features, depth, points and cameras."""
