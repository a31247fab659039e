"""An object of JSON that has a key twice is refused: readers of JSON disagree on which of the two counts (RFC 8259, section 4), so
a verdict on such an op would be on what another reader does not see. EDN forbids it itself.

msgspec takes the last one and says nothing. To look at each object of a long history would take longer than to decode it, so lines
are first passed that cannot have one: those with no more colons behind quotes than an op of theirs needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from histories.op import Op

_REQUIRED_COUNT = 5
"""index, time, type, process and f stand in every line of an op."""


class RepeatedKey(ValueError):
    """An object has a key twice; the message says which."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {json.dumps(key[:80])} twice, and nobody can say which one counts")


def refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs, for a decoder of `json`. Raises RepeatedKey."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RepeatedKey(key)
            seen.add(key)
    return found


def repeated_key(text: bytes | str) -> RepeatedKey | None:
    """What is wrong with this JSON when an object in it, at any depth, has a key twice; None where none has one, and for what is no
    JSON."""
    try:
        _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RepeatedKey as error:
        return error
    except (ValueError, RecursionError):
        pass
    return None


def lines_with_repeated_keys(text: bytes, ops: Sequence[Op]) -> Iterator[int]:
    """The positions of the lines of `text` that have an object with a key twice. ops: what each line was decoded to."""
    if not _may_have(text, ops):
        return
    for position, (line, op) in enumerate(zip(text.split(b"\n"), ops, strict=False)):
        if _may_have(line, (op,)) and repeated_key(line) is not None:
            yield position


def _may_have(text: bytes, ops: Sequence[Op]) -> bool:
    """Whether there are more keys than the ops need, or some that are not seen as keys because a blank follows their quote."""
    if b'" ' in text or b'"\t' in text or b'"\r' in text:
        return True
    optional = ([op.key for op in ops], [op.value for op in ops], [op.error for op in ops], [op.node for op in ops])
    unset = sum(values.count(None) for values in optional)
    return text.count(b'":') != (_REQUIRED_COUNT + len(optional)) * len(ops) - unset


_DECODER = json.JSONDecoder(object_pairs_hook=refuse_repeated, parse_int=str, parse_float=str, parse_constant=str)
