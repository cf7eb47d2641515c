"""All settings. The only module that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.s3_settings import ObjectPlace, S3Access, check_buckets, read_access, read_place

_DRIVER = "postgresql+psycopg://"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one process of the service was told. Durations in seconds, sizes in bytes."""

    database_url: str
    redis_url: str
    data_dir: Path = field(default_factory=lambda: Path(".modelwright"))
    slots: int = 2
    devices: tuple[str, ...] = ("cpu",)
    gpus: int = 1  # how many one job may have, of those of this machine
    processes: int = 1  # how many one job may have that trains on the CPU
    trainer_threads: int = 1
    lease_seconds: float = 20.0
    renew_seconds: float = 5.0
    control_poll_seconds: float = 1.0
    database_poll_seconds: float = 10.0
    outage_seconds: float = 900.0  # how long a trainer waits, frozen, for a database that is away
    stall_seconds: float = 300.0  # a trainer that is silent for so long, and for ten of its steps, hangs
    preflight_processes: int = 2
    preflight_timeout_seconds: float = 10.0
    preflight_memory_bytes: int = 8 << 30
    graph_timeout_seconds: float = 20.0
    graph_processes: int = 2
    export_timeout_seconds: float = 120.0
    static_timeout_seconds: float = 60.0
    prediction_processes: int = 2
    prediction_timeout_seconds: float = 60.0
    prediction_idle_seconds: float = 30.0
    trainer_memory_bytes: int = 0  # 0: unbounded, as CUDA needs, which reserves far more address space than it uses
    max_model_parameters: int = 1_000_000_000
    max_body_bytes: int = 1 << 20
    max_queued_jobs: int = 10_000
    max_running_jobs: int = 0  # of one tenant at a time; 0: as many as there are slots
    max_dataset_bytes: int = 4 << 30
    max_tenant_dataset_bytes: int = 32 << 30
    max_tenant_storage_bytes: int = 1 << 40
    max_active_sweeps: int = 100
    max_models: int = 100_000
    max_keys: int = 1_000
    max_requests_per_minute: int = 60_000
    audit_days: int = 365
    dataset_processes: int = 2
    dataset_timeout_seconds: float = 300.0
    dataset_memory_bytes: int = 8 << 30
    dataset_cache_bytes: int = 32 << 30
    remote_hosts: tuple[str, ...] = ()  # no host: the service fetches nothing
    remote_networks: tuple[str, ...] = ()
    remote_ca_file: str | None = None
    webhook_hosts: tuple[str, ...] = ()  # no host: nothing is sent; "*" is every public one
    webhook_timeout_seconds: float = 5.0
    webhook_retry_seconds: float = 5.0
    webhook_give_up_seconds: float = 32 * 3600.0
    webhook_disable_seconds: float = 5 * 86_400.0
    max_tenant_webhooks: int = 100
    max_tenant_streams: int = 1_000  # in one API process
    s3_buckets: tuple[str, ...] = ()  # no bucket: no data set comes from one
    s3: S3Access = field(default_factory=S3Access)
    object_store: ObjectPlace | None = None  # None: chunks lie in the database
    cors_origins: tuple[str, ...] = ()  # no origin: browsers show answers to pages of this service alone
    metrics_token: str | None = None  # who sends it may read /metrics; without it nobody may
    otlp_endpoint: str | None = None
    log_level: str = "INFO"
    failpoint: str = ""  # see `services.failpoints`; for tests alone

    @property
    def device_classes(self) -> tuple[str, ...]:
        """What a worker can run: ``cpu``, ``cuda``, and ``cuda:4`` for a job with four GPUs, as far as it has them."""
        most = {"cuda": self.gpus, "cpu": self.processes}
        several = [f"{device}:{count}" for device in self.devices for count in range(2, most.get(device, 1) + 1)]
        return (*self.devices, *several)

    @property
    def cache_dir(self) -> Path:
        """Where a worker keeps data files between jobs."""
        return self.data_dir / "cache"

    @property
    def exports_dir(self) -> Path:
        """Where the API keeps checkpoints in the formats of others; it can be emptied at any time."""
        return self.data_dir / "exports"

    @property
    def scratch_dir(self) -> Path:
        """Where a worker gives each attempt a folder of its own."""
        return self.data_dir / "scratch"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment (or from ``environment``).

    Raises:
        ValueError: a required variable is missing or does not say what it should; the message names it.
    """
    source = os.environ if environment is None else environment
    return Settings(
        database_url=_database_url(_required(source, "DATABASE_URL")),
        redis_url=_required(source, "REDIS_URL"),
        data_dir=Path(source.get("MODELWRIGHT_DATA_DIR", ".modelwright")).expanduser().resolve(),
        slots=int(_number(source, "MODELWRIGHT_SLOTS", 2)),
        devices=tuple(source.get("MODELWRIGHT_DEVICES", "").split(","))
        if source.get("MODELWRIGHT_DEVICES")
        else _devices(),
        gpus=int(_number(source, "MODELWRIGHT_GPUS", len(list(Path("/dev").glob("nvidia[0-9]*"))))),
        processes=int(_number(source, "MODELWRIGHT_PROCESSES", _cores())),
        trainer_threads=int(_number(source, "MODELWRIGHT_TRAINER_THREADS", 1)),
        lease_seconds=_number(source, "MODELWRIGHT_LEASE_SECONDS", 20.0),
        renew_seconds=_number(source, "MODELWRIGHT_RENEW_SECONDS", 5.0),
        control_poll_seconds=_number(source, "MODELWRIGHT_CONTROL_POLL_SECONDS", 1.0),
        preflight_processes=int(_number(source, "MODELWRIGHT_PREFLIGHT_PROCESSES", 2)),
        preflight_timeout_seconds=_number(source, "MODELWRIGHT_PREFLIGHT_TIMEOUT_SECONDS", 10.0),
        graph_processes=int(_number(source, "MODELWRIGHT_GRAPH_PROCESSES", 2)),
        graph_timeout_seconds=_number(source, "MODELWRIGHT_GRAPH_TIMEOUT_SECONDS", 20.0),
        export_timeout_seconds=_number(source, "MODELWRIGHT_EXPORT_TIMEOUT_SECONDS", 120.0),
        static_timeout_seconds=_number(source, "MODELWRIGHT_STATIC_TIMEOUT_SECONDS", 60.0),
        prediction_processes=int(_number(source, "MODELWRIGHT_PREDICTION_PROCESSES", 2)),
        prediction_timeout_seconds=_number(source, "MODELWRIGHT_PREDICTION_TIMEOUT_SECONDS", 60.0),
        prediction_idle_seconds=_number(source, "MODELWRIGHT_PREDICTION_IDLE_SECONDS", 30.0),
        trainer_memory_bytes=int(_number(source, "MODELWRIGHT_TRAINER_MEMORY_BYTES", _trainer_memory_bytes())),
        max_model_parameters=int(_number(source, "MODELWRIGHT_MAX_MODEL_PARAMETERS", 1_000_000_000)),
        max_dataset_bytes=int(_number(source, "MODELWRIGHT_MAX_DATASET_BYTES", 4 << 30)),
        dataset_processes=int(_number(source, "MODELWRIGHT_DATASET_PROCESSES", 2)),
        dataset_timeout_seconds=_number(source, "MODELWRIGHT_DATASET_TIMEOUT_SECONDS", 300.0),
        dataset_memory_bytes=int(_number(source, "MODELWRIGHT_DATASET_MEMORY_BYTES", 8 << 30)),
        dataset_cache_bytes=int(_number(source, "MODELWRIGHT_DATASET_CACHE_BYTES", 32 << 30)),
        **_telling(source),
        **_elsewhere(source),
        log_level=source.get("MODELWRIGHT_LOG_LEVEL", "INFO"),
        **_faults(source),
        **_of_tenants(source),
    )


def _elsewhere(source: Mapping[str, str]) -> dict[str, Any]:
    """Return where data sets may come from, and where the bytes of chunks lie."""
    place, buckets = read_place(source, "MODELWRIGHT_OBJECT_STORE"), _list(source, "MODELWRIGHT_S3_BUCKETS")
    check_buckets(buckets, "MODELWRIGHT_S3_BUCKETS", apart_from=place)
    return {
        "remote_hosts": _list(source, "MODELWRIGHT_REMOTE_HOSTS"),
        "remote_networks": _list(source, "MODELWRIGHT_REMOTE_NETWORKS"),
        "remote_ca_file": source.get("MODELWRIGHT_REMOTE_CA_FILE") or None,
        "s3_buckets": buckets,
        "s3": read_access(source, "MODELWRIGHT_S3"),
        "object_store": place,
    }


def _telling(source: Mapping[str, str]) -> dict[str, Any]:
    """Return who is told what happens, and how: pages of other origins, webhooks, streams, metrics, traces."""
    return {
        "cors_origins": _list(source, "MODELWRIGHT_CORS_ORIGINS"),
        "metrics_token": source.get("MODELWRIGHT_METRICS_TOKEN") or None,
        "otlp_endpoint": source.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None,
        "webhook_hosts": _list(source, "MODELWRIGHT_WEBHOOK_HOSTS"),
        "webhook_retry_seconds": _number(source, "MODELWRIGHT_WEBHOOK_RETRY_SECONDS", 5.0),
        "webhook_give_up_seconds": _number(source, "MODELWRIGHT_WEBHOOK_GIVE_UP_SECONDS", 32 * 3600.0),
        "webhook_disable_seconds": _number(source, "MODELWRIGHT_WEBHOOK_DISABLE_SECONDS", 5 * 86_400.0),
        "max_tenant_webhooks": int(_number(source, "MODELWRIGHT_MAX_TENANT_WEBHOOKS", 100)),
        "max_tenant_streams": int(_number(source, "MODELWRIGHT_MAX_TENANT_STREAMS", 1_000)),
    }


def _faults(source: Mapping[str, str]) -> dict[str, Any]:
    """Return how long what is away or silent is waited for, and the fault that a test asks for."""
    return {
        "database_poll_seconds": _number(source, "MODELWRIGHT_DATABASE_POLL_SECONDS", 10.0),
        "outage_seconds": _number(source, "MODELWRIGHT_OUTAGE_SECONDS", 900.0),
        "stall_seconds": _number(source, "MODELWRIGHT_STALL_SECONDS", 300.0),
        "failpoint": source.get("FAILPOINT", ""),
    }


def _of_tenants(source: Mapping[str, str]) -> dict[str, Any]:
    """Return what each tenant may have unless its operator says otherwise, and how long what it did is known."""
    return {
        "max_tenant_storage_bytes": int(_number(source, "MODELWRIGHT_MAX_TENANT_STORAGE_BYTES", 1 << 40)),
        "max_active_sweeps": int(_number(source, "MODELWRIGHT_MAX_ACTIVE_SWEEPS", 100)),
        "max_models": int(_number(source, "MODELWRIGHT_MAX_MODELS", 100_000)),
        "max_keys": int(_number(source, "MODELWRIGHT_MAX_KEYS", 1_000)),
        "max_requests_per_minute": int(_number(source, "MODELWRIGHT_MAX_REQUESTS_PER_MINUTE", 60_000)),
        "audit_days": int(_number(source, "MODELWRIGHT_AUDIT_DAYS", 365)),
        "max_queued_jobs": int(_number(source, "MODELWRIGHT_MAX_QUEUED_JOBS", 10_000)),
        "max_tenant_dataset_bytes": int(_number(source, "MODELWRIGHT_MAX_TENANT_DATASET_BYTES", 32 << 30)),
        "max_running_jobs": int(_number(source, "MODELWRIGHT_MAX_RUNNING_JOBS", 0)),
    }


def _required(source: Mapping[str, str], name: str) -> str:
    value = source.get(name, "")
    if not value:
        raise ValueError(f"{name} is not set; `modelwright up` sets it, or point it at your own server")
    return value


def _number(source: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(source.get(name, default))
    except ValueError:
        raise ValueError(f"{name} must be a number, not {source[name]!r}") from None


def _list(source: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in source.get(name, "").split(",") if item.strip())


def _database_url(url: str) -> str:
    """Accept the forms people paste (``postgres://``, ``postgresql://``) and name our driver."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return _DRIVER + url.removeprefix(prefix)
    return url


def _devices() -> tuple[str, ...]:
    """A worker without instructions takes CUDA jobs exactly where the NVIDIA driver shows a device."""
    return ("cuda", "cpu") if Path("/dev/nvidia0").exists() else ("cpu",)


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _trainer_memory_bytes() -> int:
    """Three quarters of the machine's memory: a model that grows without end fails instead of the machine."""
    if "cuda" in _devices():
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
