"""What turns features into correspondences; each file is one head."""
