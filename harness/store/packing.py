"""Packs files of a store into a zip file. What cannot be read, or is too large to be read whole, is left out and named."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from harness.store.files import whole


def files_below(directory: Path) -> list[Path]:
    """The regular files below the folder, sorted; a link may lead anywhere, so none is followed."""
    return sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def pack(packed: BinaryIO, files: Iterable[tuple[Path, Path]], level: int | None = None) -> list[str]:
    """`packed` holds the files, each a path and its name there. level: of compression; None: zlib's own choice.

    Returns what was left out, and why. Raises OSError when `packed` cannot be written.
    """
    left_out = []
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=level, strict_timestamps=False) as archive:
        for path, name in files:
            try:
                whole(path).open("rb").close()
            except OSError as error:
                left_out.append(f"{path}: {error.strerror or error}")
                continue
            # A name need not be UTF-8, and one in a zip file must.
            archive.write(path, os.fsencode(name).decode(errors="backslashreplace"))
    return left_out
