"""Definitions that were checked a moment ago: a sweep's jobs, a class's homework, a job that is tried once more."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict

from services.definition.document import Definition, check

MAX_ENTRIES = 128
MAX_CHARACTERS = 16_000
MAX_MODULES = 200
"""Larger ones are checked each time, so that what is kept takes some tens of MiB at most."""

_known: OrderedDict[str, Definition] = OrderedDict()
_lock = threading.Lock()


def recall(document: object, *, pointer: str = "") -> Definition:
    """Return what `check` returned for the same document and pointer before, or check it; safe from several threads.

    Whoever gets it shares it with others and must not change it.

    Raises:
        InvalidRequest: with every problem found; a refusal is never remembered.
    """
    key = json.dumps([pointer, document])
    with _lock:
        if (known := _known.get(key)) is not None:
            _known.move_to_end(key)
            return known
    definition = check(document, pointer=pointer)
    if len(key) <= MAX_CHARACTERS and definition.tree.size <= MAX_MODULES:
        with _lock:
            _known[key] = definition
            if len(_known) > MAX_ENTRIES:
                _known.popitem(last=False)
    return definition
