"""Runs jobs: the Celery doorbell, the supervisor of trainers, and the recovery."""
