"""The closed catalog: every class, function and method that a definition may name, read from ``catalog.json``."""

from services.definition.catalog.entries import CATALOG, Catalog, Entry, Parameter

__all__ = ["CATALOG", "Catalog", "Entry", "Parameter"]
