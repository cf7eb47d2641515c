"""HTTP alone: routes, errors, bodies, streams. What the product does is in ``services``."""
