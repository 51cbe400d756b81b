"""How official codes read points out of feature maps; homolog's own heads are in `homolog.heads`."""
