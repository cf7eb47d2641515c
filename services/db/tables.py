"""Every table by one import, so that those that refer to each other find each other whoever works with some of them."""

from services.db import (
    accounting_models,
    dataset_models,
    log_models,
    service_models,
    sweep_models,
    timing_models,
    webhook_models,
    worker_models,
)
from services.db.models import Base

METADATA = Base.metadata

__all__ = [
    "METADATA",
    "accounting_models",
    "dataset_models",
    "log_models",
    "service_models",
    "sweep_models",
    "timing_models",
    "webhook_models",
    "worker_models",
]
