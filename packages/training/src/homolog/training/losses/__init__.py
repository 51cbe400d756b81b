"""What a mistake costs; each file is one loss, a pure function."""
