"""The fault table of the design, with real processes."""
