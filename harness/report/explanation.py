"""Explains a failure from the nodes' traces: where the data was, which node answered, which fault did it, moment by moment.

Every sentence is a fact that a trace, a fault's own result or a checker's evidence tells; nothing knows how a target works. Where
the traces do not show a cause, that is what is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.custody import NodeCustody
from harness.report.cards import Cards
from harness.report.facts import Facts
from harness.report.failure import Failure
from harness.report.loss_story import LossStory
from harness.report.moments import Explanation
from harness.report.node_lives import Life
from harness.report.op_story import OpStory
from harness.report.rule_story import RuleStory
from harness.report.telling import Moments
from histories.tracing import TraceRecord

MOMENTS_MAX = 12


def explain(failure: Failure, traces: Sequence[TraceRecord], lives: dict[str, Life]) -> Explanation:
    """The explanation of one failure. traces: of all nodes, in order of time; empty where nothing traces."""
    facts = Facts(failure, traces, lives)
    moments = Moments(facts)
    OpStory(facts, moments).tell()
    LossStory(facts, moments).tell()
    rule = RuleStory(facts, moments) if failure.time_ns is not None and not failure.ops else None
    if rule is not None:
        rule.tell()
    moments.add_faults_around()
    cards = Cards(facts)
    held: tuple[str, dict[str, NodeCustody]] = ("", {}) if rule is None else rule.held
    if facts.custody is not None:
        held = (facts.what(), facts.custody.nodes)
    shown = (cards.what(), cards.cause() if rule is None else rule.card(), cards.faults())
    return Explanation(
        cards.headline(),
        tuple(card for card in shown if card is not None),
        moments.chosen(MOMENTS_MAX),
        None if facts.write is None else facts.write.invoke,
        facts.custody,
        tuple(facts.served.values()),
        bool(facts.losses),
        *held,
    )
