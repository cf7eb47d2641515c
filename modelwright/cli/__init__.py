"""The command line: ``modelwright up``, ``submit``, ``jobs``, ``show``, ``cancel``, ``download``."""

from modelwright.cli.app import main

__all__ = ["main"]
