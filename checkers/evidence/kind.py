"""What all kinds of evidence share."""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """The base of a kind of evidence: a subclass gives its `tag`, which is the field `kind` in JSON."""


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a kind of evidence: frozen, and what is as by default is left out of the JSON."""
