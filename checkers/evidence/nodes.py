"""Evidence of nodes that ended although no fault ended them."""

from __future__ import annotations

from typing import Literal

from checkers.evidence.kind import Kind, Part

EndedBy = Literal["crashed", "halted", "refused", "exited", "signalled"]


class EndedNode(Part, frozen=True):
    """A node that ended by itself.

    how: "crashed": its core raised; "halted": its core asked for it; "refused": its core did not take what its disk held
    (told of real nodes only); "exited": the process ended with `status`; "signalled": by the signal -`status`. words: what it
    said last, or the traceback. time_ns: since the run began, where that is known.
    """

    node: str
    how: EndedBy
    words: str = ""
    status: int | None = None
    time_ns: int | None = None


class EndedNodes(Kind, frozen=True, tag="nodes"):
    """ended: in order of time where that is known."""

    ended: tuple[EndedNode, ...]
