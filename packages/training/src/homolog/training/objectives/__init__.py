"""How each family of methods turns a batch into the terms of its loss."""
