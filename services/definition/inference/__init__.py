"""What the values of a forward may be, as far as its text tells: what may grow, and what belongs to the model."""

from services.definition.inference.rounds import infer

__all__ = ["infer"]
