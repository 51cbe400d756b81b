"""One category per file, as its constant CATEGORY; `homolog.synthetic.category` lists and loads them."""
