"""Meshes from files: reading, colours, and instances by deformation."""
