"""Checkpoints: stored whole or not at all, listed, streamed, restored."""
