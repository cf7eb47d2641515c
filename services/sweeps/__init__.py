"""Sweeps: one job request, many values for its fields, the best of them."""
