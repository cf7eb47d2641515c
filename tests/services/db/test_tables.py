"""Whoever opens the database knows every table that another one refers to."""

import subprocess
import sys

CODE = """
import services.db.engine
from services.db.models import Base
print(len({fk.column.table.name for table in Base.metadata.tables.values() for fk in table.foreign_keys}))
"""


def test_the_engine_alone_brings_every_table_that_is_referred_to():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
