"""The computational graph of a run: recorded at the calls a definition makes, differentiated path by path."""
