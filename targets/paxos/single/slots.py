"""How traces name an instance: by its key as JSON, since keys are numbers, texts or nothing."""

from __future__ import annotations

import msgspec

from targets.machines.machine import Key


def slot_of(key: Key) -> str:
    """The instance's name in traces and timers."""
    return msgspec.json.encode(key).decode()
