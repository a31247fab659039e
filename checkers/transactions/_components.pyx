# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The native twin of components.components_pure: Tarjan's strongly connected components without recursion, GIL released."""

from libc.stdint cimport int32_t
from libcpp.vector cimport vector

import numpy as np


def components(int count, const int32_t[::1] sources, const int32_t[::1] targets):
    """See components.components_pure."""
    labels = np.empty(count, dtype=np.int32)
    cdef int32_t[::1] label = labels
    cdef Py_ssize_t edges = sources.shape[0]
    if targets.shape[0] != edges:
        raise ValueError("as many sources as targets were expected")
    with nogil:
        _tarjan(count, edges, sources, targets, label)
    return labels


cdef void _tarjan(int count, Py_ssize_t edges, const int32_t[::1] sources, const int32_t[::1] targets, int32_t[::1] label) noexcept nogil:
    cdef vector[int32_t] first, out, order, low, stack, path
    cdef vector[int32_t] at
    cdef Py_ssize_t e
    cdef int32_t vertex, other, root, clock = 0, number = 0
    first.assign(count + 1, 0)
    for e in range(edges):
        first[sources[e] + 1] += 1
    for vertex in range(count):
        first[vertex + 1] += first[vertex]
    at.assign(first.begin(), first.end())
    out.resize(edges)
    for e in range(edges):
        out[at[sources[e]]] = targets[e]
        at[sources[e]] += 1
    for vertex in range(count):
        at[vertex] = first[vertex]
        label[vertex] = -1
    order.assign(count, -1)
    low.assign(count, 0)
    for root in range(count):
        if order[root] >= 0:
            continue
        path.push_back(root)
        order[root] = clock
        low[root] = clock
        clock += 1
        stack.push_back(root)
        while not path.empty():
            vertex = path.back()
            if at[vertex] < first[vertex + 1]:
                other = out[at[vertex]]
                at[vertex] += 1
                if order[other] < 0:
                    order[other] = clock
                    low[other] = clock
                    clock += 1
                    stack.push_back(other)
                    path.push_back(other)
                elif label[other] < 0 and order[other] < low[vertex]:
                    low[vertex] = order[other]
                continue
            path.pop_back()
            if not path.empty() and low[vertex] < low[path.back()]:
                low[path.back()] = low[vertex]
            if low[vertex] == order[vertex]:
                while True:
                    other = stack.back()
                    stack.pop_back()
                    label[other] = number
                    if other == vertex:
                        break
                number += 1
