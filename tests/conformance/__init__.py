"""The same models twice, as definitions and as ordinary classes: they must agree to the bit."""
