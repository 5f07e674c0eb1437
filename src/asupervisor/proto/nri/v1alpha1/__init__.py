"""NRI's messages, generated."""
