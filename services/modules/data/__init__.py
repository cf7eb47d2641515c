"""Stored columns become what a model sees, in the same way for training and for predictions."""
