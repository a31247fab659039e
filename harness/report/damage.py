"""Tells, beside a broken rule of the protocol, what clients saw of it in a second run that went on past it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from harness.report.moments import Card, Explanation, Moment


def with_damage(told: Sequence[Explanation], own_count: int, past_s: float, *, has_seen: bool) -> list[Explanation]:
    """The explanations, the first `own_count` of them of the run itself and each followed by what clients saw; the others are of
    the second run, in order of time. past_s: how long it went on. has_seen: clients saw it before the rule was broken."""
    own, damage = list(told[:own_count]), told[own_count:]
    if has_seen:
        return list(told)
    card, moments = _seen(damage[0], past_s) if damage else (_nothing(past_s), ())
    for number, each in enumerate(own):
        if any(moment.tag == "wrong" and moment.op is None for moment in each.moments):
            in_order = tuple(sorted((*each.moments, *moments), key=lambda moment: moment.time_ns))
            own[number] = replace(each, cards=(*each.cards, card), moments=in_order)
    return [*own, *damage]


def _seen(first: Explanation, past_s: float) -> tuple[Card, tuple[Moment, ...]]:
    wrong = next((moment for moment in first.moments if moment.tag == "wrong"), None)
    lost = [moment for moment in first.moments if moment.tag == "data lost"]
    card = Card(
        "What clients saw of it",
        first.headline,
        f"The run ended at the broken rule. A second run of the same seed went on for {past_s:.0f} s and shows this.",
        None if wrong is None else wrong.time_ns,
        None if wrong is None else wrong.op,
        is_grave=True,
    )
    if wrong is None:
        return card, ()
    words = f"{first.headline} Seen in a second run of the same seed, which goes on past the broken rule."
    damage = replace(wrong, kind="op", head=f"Clients see it: {wrong.head}", words=words, tag="damage")
    return card, (*(replace(moment, is_grave=False) for moment in lost), damage)


def _nothing(past_s: float) -> Card:
    detail = f"A second run of the same seed went on for {past_s:.0f} s past the broken rule, and no client saw anything wrong."
    return Card("What clients saw of it", "Nothing yet", f"{detail} The rule is broken all the same.")
