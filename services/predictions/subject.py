"""What a child must know of a checkpoint and of the data that a request names; none of it needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from services.checkpoints import service as checkpoints
from services.config import Settings
from services.datasets.catalog import Column, DatasetInfo, get_builtin
from services.datasets.fetch import fetch
from services.datasets.service import find_info
from services.db.engine import Database
from services.errors import ChunkCorrupt, Conflict, InvalidRequest, Problem, TrainingFailure
from services.jobs.queries import get_job
from services.predictions.schema import PredictData
from services.training.problems import nearest

MAX_WEIGHT_BYTES = 2 << 30
_POINTER = "/data/dataset"


class CheckpointCorrupt(Conflict):
    """Stored bytes of this checkpoint are missing or changed."""

    code = "checkpoint_corrupt"

    def __init__(self) -> None:
        super().__init__(hint="Use another checkpoint of the job: GET /v1/jobs/{id}/checkpoints lists them.")


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkpoint: its view, its job's resolved request, and what was fitted and found while training."""

    checkpoint: Mapping[str, Any]
    resolved: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    batch_size: int

    @property
    def key(self) -> str:
        """What equal models have in common."""
        return f"{self.checkpoint['id']}/{self.checkpoint['sha256']}"


def read_subject(session: Session, *, tenant_id: str, checkpoint_id: str) -> Subject:
    """Return what is known of a checkpoint.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: ``invalid_id``; ``model_too_large``.
        CheckpointCorrupt: stored bytes are missing or changed.
    """
    view = checkpoints.get_checkpoint(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    resolved = get_job(session, tenant_id=tenant_id, job_id=view["job_id"])["resolved"]
    if view["size_bytes"] > MAX_WEIGHT_BYTES:
        detail = f"{view['size_bytes']:,} bytes of weights are too many to predict with here."
        hint = f"At most {MAX_WEIGHT_BYTES:,} bytes; download the checkpoint and use it where you are."
        raise InvalidRequest([Problem("model_too_large", detail, "", hint)])
    try:
        meta = checkpoints.read_meta(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
        # Checkpoints of before vocabularies were kept are told in numbers of classes.
        preprocessing = {"vocabularies": {}, **meta["preprocessing"]}
        return Subject(view, resolved, preprocessing, int(meta["environment"]["batch_size"]))
    except (ChunkCorrupt, KeyError, TypeError, ValueError):
        raise CheckpointCorrupt() from None


def lay_out(
    database: Database, folder: Path, subject: Subject, *, tenant_id: str, settings: Settings
) -> dict[str, Any]:
    """Write the weights into ``folder`` and return what a child builds the model from.

    Raises:
        NotFound: the checkpoint was deleted meanwhile.
        CheckpointCorrupt: stored bytes are missing or changed.
    """
    weights, resolved = folder / "weights.safetensors", subject.resolved
    try:
        checkpoints.fetch_weights(database, tenant_id=tenant_id, checkpoint_id=subject.checkpoint["id"], path=weights)
    except ChunkCorrupt:
        raise CheckpointCorrupt() from None
    return {
        "document": resolved["definition"],
        "weights": str(weights),
        "training": resolved["training"],
        "data": resolved["data"],
        "preprocessing": subject.preprocessing,
        "batch_size": subject.batch_size,
        "threads": settings.trainer_threads,
    }


def find_rows(
    database: Database, subject: Subject, wanted: PredictData, *, tenant_id: str, settings: Settings
) -> dict[str, Any]:
    """Return where a child finds the rows of a data set, and what its classes are called here.

    Raises:
        InvalidRequest: ``unknown_dataset``, ``dataset_not_ready``; ``unknown_column``, ``dtype_mismatch`` or
            ``shape_mismatch`` where another data set is not like the job's own.
        Conflict: stored bytes of the data set fail their checksum.
    """
    own = subject.resolved["data"]["dataset"]
    name = wanted.dataset or own
    with database.read_session() as session:
        info = _find_info(session, tenant_id, name, is_own=wanted.dataset is None)
    found: dict[str, Any] = {"part": wanted.split, "rows": wanted.rows, "file": None, "remap": {}, "names": {}}
    if name != own:
        _check_like(subject, info, wanted)
        found |= _renamed(subject.preprocessing["vocabularies"], info)
    if not name.startswith("ds_"):
        return {**found, "builtin": name, "cache": str(settings.cache_dir.resolve())}
    try:
        found["file"] = str(_fetched(database, tenant_id, name, settings))
    except TrainingFailure as failure:
        raise Conflict(failure.detail, hint=failure.hint) from None
    return found


def _fetched(database: Database, tenant_id: str, dataset_id: str, settings: Settings) -> Path:
    folder, size = settings.cache_dir, settings.dataset_cache_bytes
    return fetch(
        database, tenant_id=tenant_id, dataset_id=dataset_id, cache_dir=folder, cache_bytes=size
    ).path.resolve()


def _find_info(session: Session, tenant_id: str, name: str, *, is_own: bool) -> DatasetInfo:
    try:
        return find_info(session, tenant_id=tenant_id, name=name) or get_builtin(name, pointer=_POINTER)
    except InvalidRequest:
        if not is_own:
            raise
        detail = f"The data set {name} that the job trained on was deleted."
        raise InvalidRequest([Problem("unknown_dataset", detail, _POINTER, "Send rows, or name another.")]) from None


def _check_like(subject: Subject, info: DatasetInfo, wanted: PredictData) -> None:
    """Compare the columns of another data set with those that the model was trained on."""
    recipes, data = subject.preprocessing["recipes"], subject.resolved["data"]
    problems = []
    for name, recipe in recipes.items():
        for source in recipe["sources"]:
            column = info.columns.get(source["column"])
            if column is not None:
                problems += _differences(source, column, is_resized=bool((recipe["image"] or {}).get("resize")))
            elif name in data["inputs"]:
                problems.append(_lacks(source["column"], info, _POINTER))
    rule = data["split"] if wanted.split else {}
    ways = [rule[way] for way in ("stratify", "by_group", "by_time", "column") if isinstance(rule.get(way), str)]
    problems += [_lacks(name, info, "/data/split") for name in ways if name not in info.columns]
    if problems:
        raise InvalidRequest(list(dict.fromkeys(problems)))


def _lacks(column: str, info: DatasetInfo, pointer: str) -> Problem:
    detail = f"The data set {info.name} has no column {column[:80]!r}."
    return Problem("unknown_column", detail, pointer, nearest(column, [*info.columns]))


def _differences(source: Mapping[str, Any], column: Column, *, is_resized: bool) -> list[Problem]:
    name, shape = source["column"], list(column.shape)
    if column.kind != source["kind"]:
        detail = f"Column {name!r} holds {column.kind} values here; the model was trained on {source['kind']} values."
        return [Problem("dtype_mismatch", detail, _POINTER)]
    same = shape[:1] == source["shape"][:1] if is_resized else shape == source["shape"]
    if same:
        return []
    detail = f"A row of column {name!r} has the shape {shape} here; in training it had {source['shape']}."
    return [Problem("shape_mismatch", detail, _POINTER)]


def _renamed(vocabularies: Mapping[str, list[str]], info: DatasetInfo) -> dict[str, Any]:
    """Return for each column with named classes the numbers that training gave them, -2 to those it did not know."""
    remap, names = {}, {}
    for column, known in vocabularies.items():
        here = list(info.columns[column].class_names) if column in info.columns else []
        if here and here != known:
            index = {name: code for code, name in enumerate(known)}
            remap[column], names[column] = [index.get(name, -2) for name in here], here
    return {"remap": remap, "names": names}
