"""Rooms, the objects in them, and how things move."""
