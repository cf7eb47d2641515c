"""The service of a data folder, or of outside servers, into a backup, and back out of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelwright.server import backup
from modelwright.server.lock import InUse, hold
from modelwright.server.postgres import PostgresServer
from modelwright.server.process import ServerError
from modelwright.server.programs import Programs, check_installed


def save(target: Path, data: Path, *, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Back up the service of a data folder, or of ``DATABASE_URL``, to the new folder ``target``; return the manifest.

    The service may run: what it commits from now on is not in the backup. One that does not run stays stopped.

    Raises:
        ServerError: there is no service, or it cannot be read, or ``target`` exists or lies in the data folder.
    """
    with _database(data, os.environ if environment is None else environment) as url:
        return backup.write(target, database_url=url, data=data)


def restore(source: Path, data: Path, *, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Make a data folder (and the database of ``DATABASE_URL``, if set) from a backup; return the backup's manifest.

    Nothing appears at ``data`` before all of it is there. Jobs that ran when the backup was made are queued again.

    Raises:
        ServerError: the backup is damaged, there is something at ``data`` or in the database, or a program failed.
    """
    check_installed()
    manifest = backup.read(source)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ServerError(f"{data} is not empty. Restore into a new folder.")
    outside = dict(os.environ if environment is None else environment)
    building = data.with_name(f"{data.name}.restoring")
    with hold(building):
        _clear(building)
        try:
            _fill(source, building, outside)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    (building / "lock").unlink()
    building.rename(data)
    return manifest


def _fill(source: Path, building: Path, outside: dict[str, str]) -> None:
    url = outside.get("DATABASE_URL")
    server = None if url else PostgresServer(building / "postgres")
    try:
        if server is not None:
            server.start()
            url = server.url
        assert url is not None  # noqa: S101 - one of the two
        if not backup.is_empty(url):
            raise ServerError("The database of DATABASE_URL is not empty. Restore into a new one.")
        backup.load_database(source, database_url=url)
        backup.load_files(source, building)
        redis = {"REDIS_URL": "redis://127.0.0.1:1/0"}  # nobody is rung: there are no workers yet
        programs = Programs(building, {**outside, **redis, "DATABASE_URL": url, "MODELWRIGHT_DATA_DIR": str(building)})
        programs.migrate()
        programs.release_jobs()
    finally:
        if server is not None:
            server.stop()


def _clear(folder: Path) -> None:
    """Remove what a restore that did not come to its end left behind."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


@contextmanager
def _database(data: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Give the URL of the service's database; an embedded one that does not run is started for this and stopped."""
    if environment.get("DATABASE_URL"):
        yield environment["DATABASE_URL"]
        return
    if not (data / "postgres" / "PG_VERSION").exists():
        raise ServerError(f"{data} holds no service. Name its data folder with --data, or set DATABASE_URL.")
    server = PostgresServer(data / "postgres")
    try:
        with hold(data):
            try:
                server.start()
                yield server.url
            finally:
                server.stop()
    except InUse:
        yield server.url
