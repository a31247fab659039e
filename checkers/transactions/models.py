"""Which anomalies rule out which consistency models of transactions: the lattice, as data.

The names are Elle's (Kingsbury and Alvaro, VLDB 2020), for people who know its verdicts. An anomaly may be a special case of
others, a model may forbid some anomalies beside those of the models that it implies; all else follows.

Sources of the rows: Adya 1999 (PL-1 to PL-3, PL-2+, PL-2L, PL-FCV, PL-MSR, PL-CS, PL-SI, PL-3U); Bailis et al., VLDB 2014
(monotonic atomic view) and SIGMOD 2014 (fractured reads); Liu et al. 2018 (update atomic, as ROLA); Cerone, Bernardi and
Gotsman, CONCUR 2015 (read atomic, causal, parallel snapshot isolation, prefix); Cerone and Gotsman, PODC 2016 (snapshot isolation
forbids each cycle in which no two anti-dependencies are neighbours); Daudjee and Salem, VLDB 2006 (strong and strong session
variants).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

CYCLES: tuple[str, ...] = ("G0", "G1c", "G-single-item", "G-nonadjacent-item", "G2-item")
"""Classes of cycles, the gravest first. Each also exists with the suffix -process and -realtime."""

VARIANTS: tuple[str, ...] = ("", "-process", "-realtime")

VISIBILITY: tuple[str, ...] = (
    "observed-transaction-vanishes",
    "fractured-read",
    "causality-violation",
    "prefix-violation",
    "G-update",
)
"""Cycles of particular shapes that models below snapshot isolation forbid (visibility.py), the gravest first."""

PARTLY: frozenset[str] = frozenset({"monotonic-view", "monotonic-snapshot-read"})
"""Models that forbid some cycles with one anti-dependency and not others, by what no graph of whole transactions shows (G-monotonic
and G-MSR of Adya 1999)."""

UNDECIDED: frozenset[str] = frozenset({"empty-transaction-graph", "cycle-search-timeout", "single-anti-dependency"})
"""Found instead of an anomaly: with nothing forbidden beside them, the verdict is UNKNOWN."""


def _anomaly_rows() -> dict[str, tuple[str, ...]]:
    rows: dict[str, list[str]] = {
        "G1a": ["G1"],
        "G1b": ["G1"],
        "G-single": ["G-nonadjacent", "G-SIb"],
        "incompatible-order": ["G1a"],
        "dirty-update": ["G1a"],
        "thin-air-read": ["G1a"],
        "future-read": ["G1c"],
        "lost-update": ["write-skew", "G2-item"],
        "write-skew": ["G2"],
        "observed-transaction-vanishes": ["fractured-read"],
        "fractured-read": ["causality-violation"],
        "causality-violation": ["G-single-item", "prefix-violation"],
        "prefix-violation": ["G-nonadjacent-item"],
        "G-update": ["G2"],
    }
    special = {
        "G0": ["G1c"],
        "G1c": ["G1"],
        "G1": [],
        "G-single-item": ["G-single", "G-nonadjacent-item"],
        "G-single": ["G-nonadjacent"],
        "G-nonadjacent-item": ["G-nonadjacent", "G2-item"],
        "G-nonadjacent": ["G2"],
        "G2-item": ["G2"],
        "G2": [],
    }
    for name, general in special.items():
        for number, variant in enumerate(VARIANTS):
            found = rows.setdefault(name + variant, [])
            found += [each + variant for each in general if each + variant not in found]
            if number + 1 < len(VARIANTS):
                found.append(name + VARIANTS[number + 1])
    return {name: tuple(found) for name, found in rows.items()}


IMPLIED_ANOMALIES: Mapping[str, tuple[str, ...]] = _anomaly_rows()
"""Anomaly -> anomalies that it is a special case of. A cycle that needs fewer kinds of edges is one with more kinds, too."""

IMPLIED_MODELS: Mapping[str, tuple[str, ...]] = {
    "causal-cerone": ("read-atomic",),
    "consistent-view": ("cursor-stability", "monotonic-view"),
    "cursor-stability": ("read-committed",),
    "forward-consistent-view": ("consistent-view",),
    "monotonic-atomic-view": ("read-committed",),
    "monotonic-snapshot-read": ("read-committed",),
    "monotonic-view": ("read-committed",),
    "parallel-snapshot-isolation": ("causal-cerone", "update-atomic"),
    "prefix": ("causal-cerone",),
    "read-atomic": ("monotonic-atomic-view",),
    "read-committed": ("read-uncommitted",),
    "read-uncommitted": (),
    "repeatable-read": ("cursor-stability", "monotonic-atomic-view"),
    "serializable": ("repeatable-read", "snapshot-isolation", "update-serializable"),
    "snapshot-isolation": (
        "forward-consistent-view",
        "monotonic-atomic-view",
        "monotonic-snapshot-read",
        "parallel-snapshot-isolation",
        "prefix",
    ),
    "strict-serializable": ("serializable", "strong-session-serializable", "strong-snapshot-isolation"),
    "strong-read-committed": ("strong-read-uncommitted", "strong-session-read-committed"),
    "strong-read-uncommitted": ("strong-session-read-uncommitted",),
    "strong-session-read-committed": ("read-committed", "strong-session-read-uncommitted"),
    "strong-session-read-uncommitted": ("read-uncommitted",),
    "strong-session-serializable": ("serializable", "strong-session-snapshot-isolation"),
    "strong-session-snapshot-isolation": ("snapshot-isolation", "strong-session-read-committed"),
    "strong-snapshot-isolation": ("strong-read-committed", "strong-session-snapshot-isolation"),
    "update-atomic": ("read-atomic",),
    "update-serializable": ("forward-consistent-view",),
}
"""Model -> the next weaker ones: whatever keeps the model keeps those."""

FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    "causal-cerone": ("internal", "G1a", "causality-violation"),
    "consistent-view": ("G1", "G-single", "internal"),
    "cursor-stability": ("G1", "lost-update"),
    "forward-consistent-view": ("G1", "G-SIb"),
    "monotonic-atomic-view": ("observed-transaction-vanishes",),
    "monotonic-snapshot-read": ("G1",),
    "monotonic-view": ("G1", "observed-transaction-vanishes"),
    "parallel-snapshot-isolation": ("internal", "G1a", "G-single"),
    "prefix": ("internal", "G1a", "prefix-violation"),
    "read-atomic": ("internal", "G1a", "future-read", "fractured-read"),
    "read-committed": ("G1",),
    "read-uncommitted": ("G0", "duplicate-elements", "cyclic-versions"),
    "repeatable-read": ("G1", "G2-item", "internal", "lost-update"),
    "serializable": ("internal", "G1", "G2"),
    "snapshot-isolation": ("internal", "G1", "G-nonadjacent"),
    "strict-serializable": ("G1", "G1c-realtime", "G2-realtime"),
    "strong-read-committed": ("G1c-realtime",),
    "strong-read-uncommitted": ("G0-realtime",),
    "strong-session-read-committed": ("G1c-process",),
    "strong-session-read-uncommitted": ("G0-process",),
    "strong-session-serializable": ("G1-process", "G2-process"),
    "strong-session-snapshot-isolation": ("internal", "G1-process", "G-nonadjacent-process"),
    "strong-snapshot-isolation": ("internal", "G1-realtime", "G-nonadjacent-realtime"),
    "update-atomic": ("lost-update",),
    "update-serializable": ("G1", "G-update"),
}
"""Model -> anomalies that it forbids beside those that weaker models forbid."""

OTHER_NAMES: Mapping[str, str] = {
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-2+": "consistent-view",
    "PL-2.99": "repeatable-read",
    "PL-2L": "monotonic-view",
    "PL-3": "serializable",
    "PL-3U": "update-serializable",
    "PL-CS": "cursor-stability",
    "PL-FCV": "forward-consistent-view",
    "PL-MSR": "monotonic-snapshot-read",
    "PL-SI": "snapshot-isolation",
    "PL-SS": "strict-serializable",
    "ROLA": "update-atomic",
    "causal": "causal-cerone",
    "conflict-serializable": "serializable",
    "parallel-si": "parallel-snapshot-isolation",
    "si": "snapshot-isolation",
    "strong-serializable": "strict-serializable",
}
"""What else people call the models."""

MODELS: frozenset[str] = frozenset(IMPLIED_MODELS)

ANOMALIES: frozenset[str] = frozenset(
    {*IMPLIED_ANOMALIES, *(name for names in (*IMPLIED_ANOMALIES.values(), *FORBIDDEN.values()) for name in names)}
)
"""Every anomaly that `--anomalies` can name."""


def canonical(model: str) -> str:
    """The name that this module knows the model by. Raises LookupError for one that it does not know."""
    name = model.removeprefix(":")
    name = OTHER_NAMES.get(name, name)
    if name not in MODELS:
        raise LookupError(model)
    return name


def implied_anomalies(anomalies: Iterable[str]) -> frozenset[str]:
    """These, and all that they are special cases of."""
    return _closure(IMPLIED_ANOMALIES, anomalies)


def implying_anomalies(anomalies: Iterable[str]) -> frozenset[str]:
    """These, and all special cases of them."""
    return _closure(_inverted_anomalies(), anomalies)


def implied_models(models: Iterable[str]) -> frozenset[str]:
    """These, and all weaker ones."""
    return _closure(IMPLIED_MODELS, models)


def forbidden_by(models: Iterable[str]) -> frozenset[str]:
    """The anomalies, special cases included, that a history which keeps all of these models does not have."""
    return _forbidden(frozenset(canonical(model) for model in models))


def ruled_out(anomalies: Iterable[str]) -> frozenset[str]:
    """The models that a history with these anomalies does not keep."""
    return _ruled_out(frozenset(anomalies))


def weakest(models: Iterable[str]) -> tuple[str, ...]:
    """Those of the models that imply none of the others, sorted: what most surprises about a history that breaks them all."""
    given = frozenset(models)
    return tuple(sorted(each for each in given if not (_closure(IMPLIED_MODELS, (each,)) - {each}) & given))


def strongest_possible(impossible: Iterable[str]) -> tuple[str, ...]:
    """Of the models that are not ruled out, those that no other of them implies, sorted."""
    return _strongest(MODELS - frozenset(impossible))


# A check of a small history takes no longer than these do, and campaigns run many thousands of such checks.


@lru_cache(1024)
def _forbidden(models: frozenset[str]) -> frozenset[str]:
    kept = _closure(IMPLIED_MODELS, models)
    return implying_anomalies(anomaly for model in kept for anomaly in FORBIDDEN.get(model, ()))


@lru_cache(1024)
def _ruled_out(anomalies: frozenset[str]) -> frozenset[str]:
    seen = implied_anomalies(anomalies)
    direct = (model for model, forbidden in FORBIDDEN.items() if not seen.isdisjoint(forbidden))
    return _closure(_inverted_models(), direct)


@lru_cache(1024)
def _strongest(possible: frozenset[str]) -> tuple[str, ...]:
    implied = {weaker for model in possible for weaker in _closure(IMPLIED_MODELS, (model,)) - {model}}
    return tuple(sorted(possible - implied))


def _closure(edges: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, ())
    return frozenset(found)


@cache
def _inverted_anomalies() -> Mapping[str, tuple[str, ...]]:
    return _inverted(IMPLIED_ANOMALIES)


@cache
def _inverted_models() -> Mapping[str, tuple[str, ...]]:
    return _inverted(IMPLIED_MODELS)


def _inverted(edges: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, others in edges.items():
        for other in others:
            found.setdefault(other, []).append(name)
    return {name: tuple(others) for name, others in found.items()}
