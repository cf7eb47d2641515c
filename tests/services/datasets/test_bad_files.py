"""Files that are not as they must be: each gets its exact answer, and no bytes at all break the reader."""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import save

from services.config import Settings
from services.datasets.parsing.child import SOURCE, prepare
from services.datasets.reader import Reader, upload_folder
from services.datasets.schema import DatasetRequest
from services.errors import InvalidRequest, UnsupportedFormat
from tests.services.datasets.files import image_folder, npy, npz, png, zipped

MIB = 1 << 20


def claimed_npy(shape: str, descr: str = "'<f4'", follow: bytes = b"\0" * 16) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + follow


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def overlapping_zip() -> bytes:
    """Return an archive whose directory lists the same compressed bytes a thousand times (Fifield's bomb)."""
    whole = zipped({"a.npy": npy(np.zeros(MIB, np.uint8))})
    directory = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = whole[directory:end]
    names = [entry.replace(b"a.npy", b"%05d" % number) for number in range(1000)]
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entry) * 1000, directory, 0)
    return whole[:directory] + b"".join(names) + tail


def lying_zip() -> bytes:
    """Return an archive whose member holds more than its directory declares."""
    content = zipped({"a.npy": npy(np.arange(5000))})
    size = struct.pack("<I", len(npy(np.arange(5000))))
    return content.replace(size, struct.pack("<I", 200))


def symlink_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("link.npy")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


def unquoted_zip(name: str) -> bytes:
    return zipped({"placeholder": b"x"}).replace(b"placeholder", name.encode().ljust(11, b"_")[:11])


ROWS = np.arange(3)
BAD = {
    "CSV ragged": ("csv", b"a,b\n1,2\n3\n", "ragged_row", "Line 3"),
    "CSV ragged in the middle": ("csv", b"a,b\n" + b"1,2\n" * 5000 + b"1,2,3\n" + b"1,2\n" * 9, "ragged_row", "5002"),
    "CSV of a million columns": ("csv", b"a," * 1_000_000 + b"b\n", "too_many_columns", "1000001 cells"),
    "CSV with an endless cell": ("csv", b"a,b\n1,2\n3," + b"x" * (17 * MIB), "cell_too_large", "Line 3"),
    "CSV with a large quoted cell": ("csv", b'a,b\n1,"' + b"x\n" * MIB + b'"\n', "cell_too_large", "line 2"),
    "CSV with an open quote": ("csv", b'a,b\n1,2\n3,"4\n5,6\n', "invalid_csv", "line 3"),
    "CSV in Latin-1": ("csv", "a,b\n1,ä\n".encode("latin-1"), "invalid_encoding", "Line 2"),
    "CSV in UTF-16": ("csv", "a,b\n1,2\n".encode("utf-16"), "invalid_encoding", "Line 1"),
    "CSV with NUL": ("csv", b"a,b\n1,\0\n", "invalid_character", "Line 2"),
    "CSV with a stray text": ("csv", b"a\n" + b"1\n" * 50 + b"12o\n", "invalid_number", "Line 52, column 'a': '12o'"),
    "CSV with one name twice": ("csv", b"a,a\n1,2\n", "duplicate_name", "'a'"),
    "CSV with a named name twice": ("csv!", b"a,a\n1,2\n", "duplicate_name", "'a'"),
    "CSV without rows": ("csv", b"a,b\n", "empty_dataset", None),
    "CSV that is Parquet": ("csv", parquet(a=[1]), "invalid_encoding", "looks like Parquet"),
    "npy of objects": ("npy", claimed_npy("(2,)", "'|O'"), "unsupported_dtype", "Python objects"),
    "npy of records": ("npy", npy(np.zeros(2, dtype=[("a", "<f4")])), "unsupported_dtype", None),
    "npy of texts": ("npy", npy(np.array(["a", "b"])), "unsupported_dtype", None),
    "npy of complex numbers": ("npy", npy(np.zeros(2, complex)), "unsupported_dtype", None),
    "npy that claims 4 GB": ("npy", claimed_npy("(1073741824,)"), "invalid_npy", "4294967296 bytes"),
    "npy that claims 2^80": ("npy", claimed_npy("(1208925819614629174706176,)"), "invalid_npy", None),
    "npy that is cut": ("npy", npy(np.arange(100))[:-1], "invalid_npy", "799 follow"),
    "npy with a program as header": ("npy", claimed_npy("(__import__('os').getpid(),)"), "invalid_npy", None),
    "npy of a single value": ("npy", npy(np.float32(3)), "invalid_shape", None),
    "npy of nothing": ("npy", npy(np.zeros((0, 3))), "empty_dataset", None),
    "npy that is not one": ("npy", b"hello there, this is text", "invalid_npy", None),
    "npz of unequal lengths": ("npz", npz(a=np.zeros(3), b=np.zeros(4)), "row_count_mismatch", "4 rows"),
    "npz that inflates a thousandfold": (
        "npz",
        zipped({"x.npy": npy(np.zeros(3 * MIB, np.uint8))}),
        "archive_ratio",
        "over 100 times",
    ),
    "npz whose members overlap": ("npz", overlapping_zip(), "archive_ratio", None),
    "npz that lies about a size": ("npz", lying_zip(), "invalid_archive|archive_ratio", None),
    "npz that is cut": ("npz", npz(a=np.zeros(3))[:-30], "invalid_archive", None),
    "npz with a path upwards": ("npz", unquoted_zip("../../x.npy"), "archive_path", "'../../x.npy'"),
    "npz with an absolute path": ("npz", unquoted_zip("/tmp/xx.npy"), "archive_path", None),
    "npz with a backslash": ("npz", unquoted_zip("..\\\\xxx.npy"), "archive_path", None),
    "npz with a link": ("npz", symlink_zip(), "archive_path", "is a link"),
    "npz with another archive": ("npz", zipped({"a.zip": zipped({"a": b"x"})}), "archive_nested", None),
    "npz with a pickle": ("npz", zipped({"archive/data.pkl": b"\x80\x02."}), "unsupported_format", "pickle"),
    "npz with something else": ("npz", zipped({"readme.md": b"hello"}), "invalid_npz", None),
    "a torch file as npz": ("npz", zipped({"model/data.pkl": b"x", "model/version": b"3"}), "unsupported_format", None),
    "a pickle as npy": ("npy", b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94.", "unsupported_format", None),
    "a pickle as CSV": ("csv", b"\x80\x05]\x94.", "unsupported_format", None),
    "safetensors with a huge header": ("safetensors", struct.pack("<Q", 1 << 40) + b"{}", "invalid_weights", None),
    "safetensors with a header of 2 MiB": ("safetensors", safetensors(b" " * 2 * MIB), "invalid_weights", None),
    "safetensors that are no JSON": ("safetensors", safetensors(b"{nope}"), "invalid_weights", "not JSON"),
    "safetensors with a name twice": (
        "safetensors",
        safetensors(
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"x",
        ),
        "invalid_weights",
        "twice",
    ),
    "safetensors that overlap": (
        "safetensors",
        safetensors({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}, b"1234"),
        "invalid_weights",
        "overlap",
    ),
    "safetensors with a wrong size": (
        "safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}, b"1234"),
        "invalid_weights",
        "takes 4 bytes",
    ),
    "safetensors that are cut": ("safetensors", save({"x": np.zeros(9)})[:-8], "invalid_weights", None),
    "safetensors with bytes left": ("safetensors", save({"x": np.zeros(9)}) + b"more", "invalid_weights", None),
    "safetensors of a new dtype": (
        "safetensors",
        safetensors({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"1"),
        "unsupported_dtype",
        "'F4'",
    ),
    "Parquet that is cut": ("parquet", parquet(a=[1, 2, 3])[:-8], "invalid_parquet", None),
    "Parquet that is not one": ("parquet", b"PAR1 not at all PAR1", "invalid_parquet", None),
    "Parquet of maps": (
        "parquet",
        parquet(m=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))),
        "unsupported_dtype",
        "'m'",
    ),
    "Parquet of bytes": ("parquet", parquet(b=[b"x"]), "unsupported_dtype", "'b'"),
    "Parquet of ragged lists": ("parquet", parquet(v=[[1.0], [1.0, 2.0]]), "ragged_row", "row 1"),
    "Parquet of missing lists": ("parquet", parquet(v=[[1.0], None]), "ragged_row", "row 1"),
    "images in no folder": (
        "images",
        zipped({"a.png": png(np.zeros((2, 2, 3), np.uint8))}),
        "no_class_folder",
        "'a.png'",
    ),
    "images of different sizes": (
        "images",
        zipped({f"c/{n}.png": png(np.zeros((n, 2, 3), np.uint8)) for n in (2, 3)}),
        "image_sizes_differ",
        "'c/3.png'",
    ),
    "an image that is none": ("images", zipped({"c/a.png": b"not a picture"}), "invalid_image", "'c/a.png'"),
    "an image that is cut": (
        "images",
        zipped({"c/a.png": png(np.zeros((64, 64, 3), np.uint8))[:60]}),
        "invalid_image",
        None,
    ),
    "a text among images": ("images", zipped({"c/a.txt": b"hello"}), "invalid_image", "'c/a.txt'"),
    "an archive without images": ("images", zipped({"__MACOSX/x.png": b""}), "empty_dataset", None),
    "images that are no archive": ("images", b"GIF89a", "invalid_archive", None),
    "text that is not UTF-8": ("text", b"one\ntwo\n\xff\xfe", "invalid_encoding", "line 3"),
    "text with NUL": ("text", b"one\ntw\0o", "invalid_character", "Line 2"),
    "ragged values in a request": ("json", b'{"columns":{"x":[[1],[1,2]]}}', "ragged_row", "row 1"),
    "mixed values in a request": ("json", b'{"columns":{"x":[1,"a"]}}', "mixed_types", "numbers and texts"),
    "columns of unequal length": ("json", b'{"columns":{"x":[1,2],"y":[1]}}', "row_count_mismatch", None),
    "rows with other members": ("json", b'{"rows":[{"a":1},{"b":1}]}', "ragged_row", "Row 1"),
    "no rows": ("json", b'{"columns":{"x":[]}}', "empty_dataset", None),
    "integers beyond 64 bits": ("json", b'{"columns":{"x":[18446744073709551616]}}', "mixed_types", None),
}


def read(folder, content, kind):
    (folder / SOURCE).write_bytes(content)
    header = {"csv": {"header": True}} if kind == "csv!" else {}
    kind = kind.removesuffix("!")
    request = {"format": kind, **header} if kind != "json" else {"columns": {"x": [1]}}
    options = DatasetRequest.model_validate(request).options()
    return prepare(folder, {"format": kind, "options": options, "max_bytes": 64 * MIB})


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_its_exact_answer(case, tmp_path):
    kind, content, codes, said = BAD[case]
    with pytest.raises(InvalidRequest) as caught:
        read(tmp_path, content, kind)
    (problem,) = caught.value.problems
    assert problem.code in codes.split("|"), problem
    assert said is None or said in problem.detail, problem
    assert len(problem.detail) < 400


def test_texts_that_repeat_are_data_where_no_numbers_follow(tmp_path):
    assert read(tmp_path, b"yes,yes\nno,yes\n", "csv")["rows"] == 2


GOOD = {
    "csv": b'a,b,"c d"\n1,2.5,x\n3,,"y\n""z"""\n5,1e3,x\n',
    "npy": npy(np.arange(24, dtype=np.float32).reshape(4, 6)),
    "npz": npz(x=np.arange(6.0).reshape(3, 2), y=np.arange(3)),
    "safetensors": save({"x": np.ones((3, 2), np.float32), "y": np.arange(3)}),
    "text": "Fischers Fritz fischt frische Fische – naïve\n".encode() * 3,
    "parquet": parquet(a=[1, 2, None], s=["x", None, "y"], v=[[1.0, 2.0]] * 3),
    "images": image_folder(4, size=(4, 4)),
}


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Return a file with some bytes changed, cut, doubled or made up."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(changed) + 1)
        match generator.randrange(5):
            case 0:
                changed[at : at + 1] = generator.randbytes(1)
            case 1:
                del changed[at : at + generator.randint(1, 40)]
            case 2:
                changed[at:at] = generator.choice([b"\xff" * 8, b"\0" * 8, b'"', b",", b"\n", b"999999999", b"-1"])
            case 3:
                changed[at:at] = changed[at : at + 50]
            case _:
                changed[at : at + 4] = generator.randbytes(4)
        if not changed:
            changed += generator.randbytes(8)
    return bytes(changed)


def fuzz(kind: str, count: int):
    generator = random.Random(kind)
    for number in range(count):
        yield generator.randbytes(generator.randint(1, 300)) if number % 8 == 7 else mutated(GOOD[kind], generator)


@pytest.mark.parametrize("kind", ["csv", "npy", "npz", "safetensors", "text"])
def test_no_bytes_break_a_reader(kind, tmp_path):
    assert read(tmp_path, GOOD[kind], kind)["rows"] > 2
    answers = {"read": 0, "refused": 0}
    for content in fuzz(kind, 100):
        try:
            read(tmp_path, content, kind)
            answers["read"] += 1
        except InvalidRequest:
            answers["refused"] += 1
    assert answers["refused"] > 10


SETTINGS = Settings("postgresql://unused", "redis://unused", dataset_processes=1)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return replace(SETTINGS, data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reader(settings):
    opened = Reader(settings)
    yield opened
    opened.close()


def ask(reader, settings, content, kind, **options):
    with upload_folder(settings) as folder:
        (folder / SOURCE).write_bytes(content)
        return reader.read(folder, format_=kind, options=options)


@pytest.mark.parametrize("kind", ["parquet", "images"])
def test_what_breaks_a_library_breaks_the_child_alone_and_is_refused(kind, reader, settings):
    assert ask(reader, settings, GOOD[kind], kind)["rows"] > 2
    codes = set()
    for content in fuzz(kind, 8):
        try:
            ask(reader, settings, content, kind)
        except InvalidRequest as error:
            codes.add(error.code)
        except UnsupportedFormat as error:
            codes.add(error.code)
    assert codes
    assert "too_large" not in codes, "a child died"
    assert "invalid_file" not in codes, "something that no reader foresaw"


def test_a_file_that_takes_too_much_memory_or_time_is_refused_for_it(reader, settings):
    try:
        for limit in ({"dataset_memory_bytes": 64 * MIB}, {"dataset_timeout_seconds": 0.02}):
            reader._settings = replace(settings, **limit)
            with pytest.raises(InvalidRequest) as caught:
                ask(reader, settings, "naïve ".encode() * 4_000_000, "text")
            assert caught.value.code == "too_large"
    finally:
        reader._settings = settings
    assert ask(reader, settings, b"a,b\n1,2\n", "csv")["rows"] == 1


@pytest.mark.parametrize("opening", [b"3,", b'3,"'])
def test_a_cell_of_a_gigabyte_is_refused_in_flat_memory(opening, tmp_path):
    with (tmp_path / SOURCE).open("wb") as file:
        file.write(b"a,b\n1,2\n" + opening + b"x" * MIB)
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest) as caught:
            prepare(tmp_path, {"format": "csv", "options": {}, "max_bytes": 2 << 30})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "cell_too_large"
    assert "Line 3" in caught.value.problems[0].detail
    assert peak < 100 * MIB


def test_a_sound_safetensors_file_may_begin_as_a_pickle_does(tmp_path):
    header = json.dumps({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode().ljust(0x480)
    content = safetensors(header, b"12")
    assert content.startswith(b"\x80\x04")
    assert read(tmp_path, content, "safetensors")["rows"] == 2


def test_more_bits_than_a_picture_has_are_refused_and_sixteen_are_read(tmp_path):
    for number, values in enumerate([np.ones((4, 4), np.float32), np.full((4, 4), 70_000, np.int32)]):
        file = io.BytesIO()
        Image.fromarray(values).save(file, "TIFF")
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InvalidRequest) as caught:
            read(tmp_path / str(number), zipped({"c/a.tiff": file.getvalue()}), "images")
        assert caught.value.code == "invalid_image"
        assert "more than 16 bits" in caught.value.problems[0].detail
    deep = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x80FF, np.uint16)).save(deep, "PNG")
    assert read(tmp_path, zipped({"c/a.png": deep.getvalue()}), "images")["profile"]["preview"]["image"][0][0] == 0x80
