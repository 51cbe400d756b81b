"""Images made here, with exact dense truth: categories, a renderer, and one transfer of surface points."""
