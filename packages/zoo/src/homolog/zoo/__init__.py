"""From a name to a ready product, through configuration."""
