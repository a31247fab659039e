"""Strongly connected components: a set of transactions has a cycle of dependencies exactly where one has two members."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability.native import is_pure_forced

Ints = NDArray[np.int32]


def _built() -> ModuleType | None:
    try:
        return importlib.import_module("checkers.transactions._components")
    except ImportError:
        return None


native = _built()
"""The native twin where it was built, None otherwise."""


def core() -> str:
    """Which twin `components` uses: "native" or "pure"."""
    return "pure" if native is None or is_pure_forced() else "native"


def components(count: int, sources: Ints, targets: Ints) -> Ints:
    """int32[count]: the number of each vertex's component.

    sources, targets: int32[e], the edges. Components are numbered against the order of the edges: an edge from one component to
    another leads to a smaller number. Source: Tarjan, SIAM J. Comput. 1972, §4.
    """
    if core() == "pure":
        return components_pure(count, sources, targets)
    assert native is not None
    found: Ints = native.components(count, np.ascontiguousarray(sources), np.ascontiguousarray(targets))
    return found


def components_pure(count: int, sources: Ints, targets: Ints) -> Ints:
    """See `components`: the specification of the native twin, which gives the same numbers."""
    out: list[list[int]] = [[] for _ in range(count)]
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        out[source].append(target)
    label, order, low, at = [-1] * count, [-1] * count, [0] * count, [0] * count
    stack: list[int] = []
    clock = number = 0
    for root in range(count):
        if order[root] >= 0:
            continue
        path = [root]
        order[root] = low[root] = clock
        clock += 1
        stack.append(root)
        while path:
            vertex = path[-1]
            if at[vertex] < len(out[vertex]):
                other = out[vertex][at[vertex]]
                at[vertex] += 1
                if order[other] < 0:
                    order[other] = low[other] = clock
                    clock += 1
                    stack.append(other)
                    path.append(other)
                elif label[other] < 0:
                    low[vertex] = min(low[vertex], order[other])
                continue
            path.pop()
            if path:
                low[path[-1]] = min(low[path[-1]], low[vertex])
            if low[vertex] == order[vertex]:
                while True:
                    other = stack.pop()
                    label[other] = number
                    if other == vertex:
                        break
                number += 1
    return np.array(label, dtype=np.int32)
