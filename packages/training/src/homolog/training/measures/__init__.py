"""What is watched while a loss falls; each file is one number, a pure function without gradient."""
