"""Trained models on new rows: requests, the data they name, the warm children that answer."""
