"""Webhooks: who is told of what, the outbox, and how it is delivered."""
