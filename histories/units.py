"""How many nanoseconds other units are, and what is a time in a file."""

from __future__ import annotations

from typing import Annotated

import msgspec

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

TimeNs = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A time in ns, before or after the run began, that a file tells: whatever 146 years do not hold is damage, and no float either."""
