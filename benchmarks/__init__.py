"""Measurements, each a file with a ``main()`` that prints a table. ``make bench`` runs them all."""
