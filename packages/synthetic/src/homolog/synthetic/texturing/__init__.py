"""Another appearance for the same geometry: texturers and the gates that check them."""
