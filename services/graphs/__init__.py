"""Computational graphs of definitions: what a request may ask for, and how it is answered by a sandboxed child."""
