"""Where files are cut."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from services.storage.chunks import MAX_CHUNK_BYTES, runs
from services.storage.layout import chunk_refs, read_span


@given(sizes=st.lists(st.integers(0, 700_000), min_size=1, max_size=12))
def test_chunks_cover_the_file_without_gap_or_overlap(tmp_path_factory: object, sizes: list[int]) -> None:
    path = Path(str(tmp_path_factory.mktemp("layout"))) / "a.safetensors"  # type: ignore[attr-defined]
    save_file({f"t{i}": np.zeros(size, dtype=np.uint8) for i, size in enumerate(sizes)}, path)
    refs = chunk_refs(path)
    assert b"".join(read_span(path, ref) for ref in refs) == path.read_bytes()
    assert [ref.offset_bytes for ref in refs] == [0, *np.cumsum([ref.size_bytes for ref in refs])[:-1]]
    assert max(ref.size_bytes for ref in refs) <= MAX_CHUNK_BYTES


def test_a_tensor_that_did_not_change_keeps_its_chunks(tmp_path: Path) -> None:
    frozen = np.random.default_rng(0).integers(0, 255, 3_000_000, dtype=np.uint8)
    hashes = []
    for version in range(2):
        path = tmp_path / f"{version}.safetensors"
        save_file({"a_head": np.full(100_000, version, dtype=np.uint8), "frozen": frozen}, path)
        hashes.append({ref.sha256 for ref in chunk_refs(path) if ref.size_bytes > 200_000})
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 3


def test_small_tensors_share_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file({f"bias{i}": np.zeros(10, dtype=np.float32) for i in range(200)}, path)
    assert len(chunk_refs(path)) == 1


def test_of_many_small_tensors_those_that_did_not_change_keep_their_chunks_and_the_header_has_its_own(
    tmp_path: Path,
) -> None:
    frozen = {f"layer{i:02}": np.random.default_rng(i).random(1_000) for i in range(20)}  # 8 kB each
    tiny = {f"layer{i:02}.bias": np.full(10, i, dtype=np.float32) for i in range(20)}
    found = []
    for step in (9, 10):
        path = tmp_path / f"{step}.safetensors"
        trained = {"trained": np.full(1_000, step, dtype=np.float64)}
        save_file({**frozen, **tiny, **trained}, path, metadata={"step": str(step)})
        found.append({ref.sha256: ref.size_bytes for ref in chunk_refs(path)})
    new = [size for sha256, size in found[1].items() if sha256 not in found[0]]
    header = int.from_bytes(path.read_bytes()[:8], "little") + 8
    assert sorted(new) == sorted([header, 8_000])


def test_what_is_read_at_once_is_never_more_than_a_chunk_may_be(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({f"t{i:02}": np.random.default_rng(i).random(20_000) for i in range(30)}, path)
    refs = chunk_refs(path)
    together = list(runs(refs))
    assert [ref for run in together for ref in run] == refs
    assert 5 <= len(together) < 8
    assert max(sum(ref.size_bytes for ref in run) for run in together) <= MAX_CHUNK_BYTES


def test_of_a_long_header_only_the_metadata_is_stored_anew(tmp_path: Path) -> None:
    found = []
    for step in (1, 2):
        path = tmp_path / f"{step}.safetensors"
        save_file({f"layer{i:03}": np.full(1_000, i, dtype=np.float32) for i in range(100)}, path, {"ü": str(step)})
        found.append(chunk_refs(path))
    new = [ref for ref in found[1] if ref.sha256 not in {one.sha256 for one in found[0]}]
    assert [(ref.offset_bytes, ref.size_bytes < 64) for ref in new] == [(0, True)]
    assert b"".join(read_span(path, ref) for ref in found[1]) == path.read_bytes()
