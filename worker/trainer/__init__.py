"""Trains one model in a process of its own: plain torch, no database, no broker, no network.

``main.run`` is what a supervisor's fork server calls; ``python -m worker.trainer job.json`` does the same by hand.
The training loop itself is in ``loop``.
"""
