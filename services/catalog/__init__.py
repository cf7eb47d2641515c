"""The whole catalog of what a request may name."""
