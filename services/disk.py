"""A full disk: how it is recognised, and what it means for an attempt at a job."""

from __future__ import annotations

import errno

from services.errors import TrainingFailure


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the operating system says that there is no room left on a disk, or in a quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def storage_full(detail: str) -> TrainingFailure:
    """Return the failure of an attempt that found no room to write: its job rests until somebody made some."""
    return TrainingFailure(
        detail,
        code="storage_full",
        failure_class="infrastructure",
        retryable=True,
        hint="Make room, then resume the job: it goes on from its last checkpoint.",
    )
