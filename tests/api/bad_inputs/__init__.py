"""The table of bad inputs: a file for each part of it, and what a case is in `case`."""
