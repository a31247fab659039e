"""Where a child process finds what this one can import."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def import_path() -> str:
    """PYTHONPATH under which a child finds what this process can import: our packages and the user's own."""
    installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    ours = str(Path(__file__).resolve().parents[3])
    entries = (ours, *(entry or os.getcwd() for entry in sys.path))
    found = [entry for entry in entries if os.path.isdir(entry) and not entry.startswith(installed)]
    return os.pathsep.join(dict.fromkeys(found))
