"""What nodes tell each other in mode `quorum`, and what they keep on disk."""

from __future__ import annotations

from typing import Annotated

import msgspec

from targets.core import NodeId
from targets.gossip.crdts import AnyState
from targets.gossip.messages import KeyState
from targets.machines.machine import Key

Natural = Annotated[int, msgspec.Meta(ge=0)]
Number = tuple[Natural, Natural]
"""Of a question: the life of the node that asks, and a count within it. So no answer to a question of an earlier life is taken for
one of this life."""


class Put(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Keep this state of the key, joined with what you have. owner: the node that you keep it for; "" for yourself. epoch, here and
    in the others: see backup.py."""

    source: NodeId
    number: Number
    key: Key
    state: AnyState
    owner: NodeId
    latest: Natural
    epoch: Natural = 0


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The state is on disk."""

    source: NodeId
    number: Number
    latest: Natural
    epoch: Natural = 0


class Get(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What do you have of this key?"""

    source: NodeId
    number: Number
    key: Key
    epoch: Natural = 0


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """All that the sender has of the key, for itself and for others. None: nothing."""

    source: NodeId
    number: Number
    state: AnyState | None
    latest: Natural
    epoch: Natural = 0


# --- on disk ----------------------------------------------------------------------------------------------------------


class Hint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A state that the node keeps for its owner, until that is heard again."""

    owner: NodeId
    key: Key
    state: AnyState


class Kept(msgspec.Struct, frozen=True, tag="kept", forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """These states and hints were joined. dots: updates and lives that the node has counted. latest: its greatest stamp.

    As a checkpoint it holds everything, and supersedes every record before it. epoch: see backup.py; only checkpoints have one.
    """

    states: tuple[KeyState, ...]
    hints: tuple[Hint, ...]
    dots: int
    latest: int
    epoch: int = 0


class HandedOff(msgspec.Struct, frozen=True, tag="handed-off", forbid_unknown_fields=True, gc=False):
    """The owner has this state: the hint is gone, if it is still this one."""

    hint: Hint


QuorumRecord = Kept | HandedOff
