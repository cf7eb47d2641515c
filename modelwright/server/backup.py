"""Backups of a whole service: its database as `pg_dump` sees it at one moment, and the small files beside it.

A backup is a folder: ``database/`` (`pg_dump`'s directory format), ``files/`` (what else is worth keeping of the data
folder) and ``manifest.json``, written last, with the size and sha256 of every file. It holds keys and everybody's data:
only its owner may read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelwright.server.postgres import binaries
from modelwright.server.process import ServerError

FORMAT = "modelwright-backup/1"
MANIFEST = "manifest.json"
_REMADE = frozenset({"postgres", "valkey", "logs", "cache", "exports", "scratch", "lock"})
"""What of a data folder is in the dump already, or is made anew when it is missing."""
_DUMP = ("--format=directory", "--jobs=2", "--compress=gzip:1", "--no-owner", "--no-privileges")
_RESTORE = ("--exit-on-error", "--no-owner", "--no-privileges", "--jobs=2")
_TAIL_CHARACTERS = 2000


def write(target: Path, *, database_url: str, data: Path) -> dict[str, Any]:
    """Write a backup of a service, which may be at work, to the new folder ``target`` and return its manifest.

    It appears under its name when it is whole and on disk.

    Raises:
        ServerError: ``target`` is there already, or within ``data``; or the database cannot be read.
    """
    if target.exists():
        raise ServerError(f"{target} exists already. Name a new folder for the backup.")
    if target.resolve().is_relative_to(data.resolve()):
        raise ServerError(f"{target} lies in {data}, which is what is backed up. Name a folder elsewhere.")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    begun = datetime.now(UTC)
    _run("pg_dump", [*_DUMP, f"--file={partial / 'database'}", f"--dbname={plain_url(database_url)}"])
    (partial / "files").mkdir()
    for path in sorted(data.iterdir()) if data.is_dir() else ():
        if path.name not in _REMADE and not path.is_symlink():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, partial / "files" / path.name)
    manifest = {"format": FORMAT, "created_at": begun.isoformat(timespec="seconds"), "files": _checksums(partial)}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    _synchronise(partial)
    partial.rename(target)
    return manifest


def read(source: Path) -> dict[str, Any]:
    """Return the manifest of a backup, every file of which is there and as it was written.

    Raises:
        ServerError: it is no backup, or is damaged; the message names the file.
    """
    try:
        manifest: dict[str, Any] = json.loads((source / MANIFEST).read_text())
    except (OSError, ValueError):
        raise ServerError(f"{source} is not a backup: it has no {MANIFEST} that can be read.") from None
    if manifest.get("format") != FORMAT:
        raise ServerError(
            f"{source} is a backup of the format {manifest.get('format')!r}; this program reads {FORMAT}."
        )
    found = _checksums(source)
    for name, said in manifest["files"].items():
        if found.get(name) != said:
            raise ServerError(f"{source} is damaged: {name} is {'not as it was' if name in found else 'missing'}.")
    return manifest


def load_database(source: Path, *, database_url: str) -> None:
    """Fill an empty database from a backup.

    Raises:
        ServerError: with what `pg_restore` said.
    """
    _run("pg_restore", [*_RESTORE, f"--dbname={plain_url(database_url)}", str(source / "database")])


def load_files(source: Path, data: Path) -> None:
    """Put the files of a backup into a data folder."""
    shutil.copytree(source / "files", data, dirs_exist_ok=True)


def is_empty(database_url: str) -> bool:
    """Return whether a database holds no table.

    Raises:
        ServerError: it does not answer.
    """
    count = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    said = _run("psql", ["--no-psqlrc", "--tuples-only", "--no-align", f"--command={count}", plain_url(database_url)])
    return said.strip() == "0"


def plain_url(url: str) -> str:
    """Return a database URL as PostgreSQL's own programs read it: without the name of a Python driver."""
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


def _run(program: str, arguments: list[str]) -> str:
    command = [str(binaries() / program), *arguments]
    # No folder of ours, nobody's ~/.psqlrc or PG* variables: but a password file is the operator's to use.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PGPASSFILE", "PGPASSWORD") if name in os.environ}
    done = subprocess.run(  # noqa: S603 - our own programs, no shell
        command, env={**kept, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ServerError(f"`{program}` failed:\n{done.stderr.strip()[-_TAIL_CHARACTERS:]}")
    return done.stdout


def _checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and sha256 of every file below ``folder``, by path, but for the manifest."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = {"size_bytes": path.stat().st_size, "sha256": digest}
    return found


def _synchronise(folder: Path) -> None:
    """Have everything below ``folder``, and the folders themselves, on disk."""
    for path in [*folder.rglob("*"), folder]:
        with suppress(PermissionError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def size_bytes(manifest: Mapping[str, Any]) -> int:
    """Return how many bytes a backup has."""
    return sum(int(file["size_bytes"]) for file in manifest["files"].values())
