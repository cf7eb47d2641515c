"""Bytes: content-addressed chunks."""
