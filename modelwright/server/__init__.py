"""The all-in-one service: embedded PostgreSQL and Valkey, and the processes that `modelwright up` keeps running."""
