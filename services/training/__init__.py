"""The training half of a job request: what may be said (``schema`` and its parts), and what it means (``resolve``)."""
