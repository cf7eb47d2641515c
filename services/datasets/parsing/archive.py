"""Zip archives of strangers: every member is looked at before one is opened, and counted again while it is inflated."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from services.datasets.limits import MAX_ARCHIVE_MEMBERS, MAX_ARCHIVE_RATIO
from services.datasets.parsing.refusal import UNSUPPORTED, refuse, shown

_PIECE_BYTES = 1 << 20
_NESTED = (".zip", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz", ".zst")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib")
_ENCRYPTED = 1


class Archive:
    """An archive that has passed all checks; ``members`` are its files, in order."""

    def __init__(self, file: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
        self._file = file
        self.members = members

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """Return a member's bytes.

        Raises:
            InvalidRequest: ``archive_ratio`` when it holds more than it declared; ``invalid_archive``.
        """
        return b"".join(self._pieces(member))

    def extract(self, member: zipfile.ZipInfo, path: Path) -> None:
        """Write a member's bytes to ``path``, which is ours and not the archive's.

        Raises:
            InvalidRequest: as `read`.
        """
        with path.open("wb") as target:
            for piece in self._pieces(member):
                target.write(piece)

    def _pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        total = 0
        try:
            with self._file.open(member) as source:
                while piece := source.read(_PIECE_BYTES):
                    total += len(piece)
                    if total > member.file_size:
                        refuse("archive_ratio", f"{shown(member.filename)} holds more than the archive declares.")
                    yield piece
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            refuse("invalid_archive", f"{shown(member.filename)} cannot be read: {type(error).__name__}.")
        except Exception as error:
            if type(error).__module__ in ("zlib", "lzma"):  # damaged streams
                refuse("invalid_archive", f"{shown(member.filename)} is damaged.")
            raise


@contextmanager
def opened(path: Path, *, max_bytes: int) -> Iterator[Archive]:
    """Open an archive whose contents are at most ``max_bytes``.

    Raises:
        InvalidRequest: ``invalid_archive``, ``archive_path``, ``archive_nested``, ``archive_encrypted``,
            ``archive_too_large``, ``archive_ratio``, ``too_many_members``; ``unsupported_format`` for pickles.
    """
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        refuse("invalid_archive", f"The file is no zip archive: {error}.")
    with file:
        infos = file.infolist()
        if len(infos) > MAX_ARCHIVE_MEMBERS:
            refuse("too_many_members", f"The archive has {len(infos)} members: at most {MAX_ARCHIVE_MEMBERS}.")
        for info in infos:
            _check_member(info)
        _check_sizes(infos, path.stat().st_size, max_bytes)
        yield Archive(file, [info for info in infos if not info.is_dir()])


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in name.split("/")[0]:
        refuse("archive_path", f"The member {shown(name)} leads out of the archive.", hint="Use plain relative names.")
    if stat.S_ISLNK(info.external_attr >> 16):
        refuse("archive_path", f"The member {shown(name)} is a link.", hint="Store the file itself.")
    if info.flag_bits & _ENCRYPTED:
        refuse("archive_encrypted", f"The member {shown(name)} is encrypted.", hint="Store it without a password.")
    lower = name.lower()
    if lower.endswith(_PICKLES):
        hint = "Send the arrays as .npz or safetensors: pickles can run code, so they are never read."
        refuse(UNSUPPORTED, f"The archive holds a pickle: {shown(name)}.", hint=hint)
    if lower.endswith(_NESTED):
        refuse("archive_nested", f"The archive holds another one: {shown(name)}.", hint="Pack its files directly.")


def _check_sizes(infos: list[zipfile.ZipInfo], size_bytes: int, max_bytes: int) -> None:
    """Compare with the size of the file itself: members that overlap share bytes and would each look harmless."""
    total = sum(info.file_size for info in infos)
    if total > MAX_ARCHIVE_RATIO * size_bytes:
        detail = f"{size_bytes} bytes claim to inflate to {total}: over {MAX_ARCHIVE_RATIO} times as many."
        refuse("archive_ratio", detail, hint="Store the data less compressed, or in another format.")
    if total > max_bytes:
        refuse("archive_too_large", f"The archive holds {total} bytes: at most {max_bytes}.")
