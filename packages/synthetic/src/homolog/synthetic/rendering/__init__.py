"""From a scene and a camera to labels and colours per pixel."""
