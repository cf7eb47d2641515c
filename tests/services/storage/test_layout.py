"""Where files are cut."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from services.storage.chunks import MAX_CHUNK_BYTES
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
