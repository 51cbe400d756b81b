"""How homolog learns: what is true of a pair, what a mistake costs, and what is watched meanwhile."""
