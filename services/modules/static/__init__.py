"""Static graphs: the second emission of a definition, its capture, its comparison with the dynamic model."""
