"""How large uploaded data may be; what is beyond is refused with the limit."""

from __future__ import annotations

MAX_PART_BYTES = 64 << 20
MAX_PARTS = 10_000
MAX_ROWS = 100_000_000
MAX_COLUMNS = 4_096
MAX_CELL_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
MAX_NAME_CHARACTERS = 200
MAX_CLASSES = 10_000
"""A column of texts with more distinct values is text, not a category."""
MAX_CATEGORY_CHARACTERS = 256
MAX_NAMES_BYTES = 4 << 20
"""Of the names of all classes of a data set together: they travel with its description."""
MAX_HEADER_BYTES = 1 << 20
"""Of safetensors and .npy headers."""
MAX_DIMENSIONS = 8
MAX_ARCHIVE_MEMBERS = 200_000
MAX_ARCHIVE_RATIO = 100
MAX_IMAGE_PIXELS = 64 << 20
"""Of one image before it is resized."""
MAX_PREVIEW_ROWS = 100
MAX_PREVIEW_VALUES = 100_000
