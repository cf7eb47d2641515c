"""Models: definitions that were checked once and have an id."""
