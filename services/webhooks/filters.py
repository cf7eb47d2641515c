"""What a webhook may ask for: types of events, all of a kind, or the entry of a job into one state."""

from __future__ import annotations

from services.jobs.states import STATES

STATE_CHANGED = "job.state_changed"
DISABLED = "webhook.disabled"
TEST = "webhook.test"
JOB_EVENTS = (
    STATE_CHANGED,
    "job.started",
    "job.first_step",
    "job.weights_loaded",
    "job.batch_size",
    "job.execution",
    "job.waiting",
    "job.due",
    "job.changed",
    "job.checkpoint",
    "job.checkpoint_corrupt",
    "job.attempt_failed",
    "job.lease_expired",
    "job.storage_full",
)
FILTERS = (
    "*",
    "job.*",
    *JOB_EVENTS,
    *(f"{STATE_CHANGED}:{state}" for state in STATES),
    DISABLED,
)
"""Everything that may stand in ``events``."""
DEFAULT = (STATE_CHANGED,)
