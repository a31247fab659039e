"""The native core where it was built, None otherwise; `CHECKERS_PURE=1` forces the pure twin.

Which one ran is in every result's stats.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


def _built(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"checkers.linearizability.{name}")
    except ImportError:
        return None


core = _built("_core")
"""The searches."""

encoder = _built("_encode")
"""History to columns of integers."""

monitors = _built("monitors._monitors")
"""The monitors of collections."""

registers = _built("monitors._registers")
"""The order of blocks: registers and append-only values."""


def is_pure_forced() -> bool:
    """Whether the environment asks for the pure twin."""
    return os.environ.get("CHECKERS_PURE", "") not in ("", "0")
