"""Reads what was uploaded. Runs in a sandboxed child only: bytes of strangers are never parsed in the API process."""
