# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The native twins of checkers.causal.patterns and of the session guarantees. Integer arrays only, GIL released.

session, seq: of each transaction. first_read, read_key, read_writer: the reads of transaction i stand from first_read[i] to
first_read[i + 1]. first_write, write_key: its writes. first_placed, placed: the transactions of each session, in order. clock: k
entries for each transaction. first_seq, seqs: the sorted seqs of the writes of key y by session s stand from first_seq[y * k + s].
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libcpp.unordered_map cimport unordered_map
from libcpp.unordered_set cimport unordered_set
from libcpp.vector cimport vector

import numpy as np


cdef int32_t _latest(int32_t session, int32_t upto, int64_t begin, int64_t end, const int32_t[::1] first_placed,
                     const int32_t[::1] placed, const int32_t[::1] seqs) noexcept nogil:
    """The last write among seqs[begin:end] with a seq of at most `upto`; -1 where there is none."""
    cdef int64_t middle, low = begin, high = end
    if begin == end or seqs[begin] > upto:
        return -1
    while low < high:  # bisect_right
        middle = (low + high) // 2
        if upto < seqs[middle]:
            high = middle
        else:
            low = middle + 1
    return placed[first_placed[session] + seqs[low - 1] - 1]


cdef object _rows(vector[int32_t]& flat, int width):
    cdef Py_ssize_t i
    rows = np.empty(flat.size(), dtype=np.int32)
    cdef int32_t[::1] row = rows
    for i in range(<Py_ssize_t>flat.size()):
        row[i] = flat[i]
    return rows.reshape(-1, width)


def overwritten(const int32_t[::1] session, const int32_t[::1] seq, const int32_t[::1] first_read,
                const int32_t[::1] read_key, const int32_t[::1] read_writer, const int32_t[::1] first_placed,
                const int32_t[::1] placed, const int32_t[::1] clock, const int64_t[::1] first_seq,
                const int32_t[::1] seqs, int found_max):
    """See patterns.overwritten_pure: rows of node, key, writer, other."""
    cdef vector[int32_t] found
    cdef Py_ssize_t n = session.shape[0], node, read
    cdef int32_t k = first_placed.shape[0] - 1, s, key, writer, other, upto
    cdef int64_t at
    with nogil:
        for node in range(n):
            for read in range(first_read[node], first_read[node + 1]):
                key, writer = read_key[read], read_writer[read]
                for s in range(k):
                    upto = clock[node * k + s]
                    if s == session[node] and upto >= seq[node]:
                        upto = seq[node] - 1
                    at = <int64_t>key * k + s
                    other = _latest(s, upto, first_seq[at], first_seq[at + 1], first_placed, placed, seqs)
                    if other < 0 or other == writer:
                        continue
                    if writer < 0 or clock[<int64_t>other * k + session[writer]] >= seq[writer]:
                        found.push_back(<int32_t>node)
                        found.push_back(key)
                        found.push_back(writer)
                        found.push_back(other)
                        break
            if <int>(found.size() // 4) >= found_max:
                break
    return _rows(found, 4)


def unordered(const int32_t[::1] session, const int32_t[::1] seq, const int32_t[::1] first_read,
              const int32_t[::1] read_key, const int32_t[::1] read_writer, const int32_t[::1] first_placed,
              const int32_t[::1] placed, const int32_t[::1] clock, const int64_t[::1] first_seq,
              const int32_t[::1] seqs):
    """See patterns.unordered_pure: rows of other, writer, node, key."""
    cdef vector[int32_t] found
    cdef unordered_set[uint64_t] known
    cdef Py_ssize_t n = session.shape[0], node, read
    cdef int32_t k = first_placed.shape[0] - 1, s, key, writer, other, upto
    cdef int64_t at
    cdef uint64_t pair
    with nogil:
        for node in range(n):
            for read in range(first_read[node], first_read[node + 1]):
                key, writer = read_key[read], read_writer[read]
                if writer < 0:
                    continue
                for s in range(k):
                    upto = clock[node * k + s]
                    if s == session[node] and upto >= seq[node]:
                        upto = seq[node] - 1
                    at = <int64_t>key * k + s
                    other = _latest(s, upto, first_seq[at], first_seq[at + 1], first_placed, placed, seqs)
                    if other < 0 or other == writer or clock[<int64_t>writer * k + s] >= seq[other]:
                        continue
                    pair = (<uint64_t>other << 32) | <uint64_t>writer
                    if known.insert(pair).second:
                        found.push_back(other)
                        found.push_back(writer)
                        found.push_back(<int32_t>node)
                        found.push_back(key)
    return _rows(found, 4)


cdef struct Bound:
    int32_t newer
    int32_t via
    int32_t behind
    int32_t seen


cdef void _bind(Bound* bounds, vector[int64_t]& touched, int64_t place, Bound bound, const int32_t[::1] seq) noexcept nogil:
    if bounds[place].newer < 0:
        touched.push_back(place)
    elif seq[bounds[place].newer] >= seq[bound.newer]:
        return
    bounds[place] = bound


def breaches(int guarantee, int64_t keys, const int32_t[::1] session, const int32_t[::1] seq,
             const int32_t[::1] first_read, const int32_t[::1] read_key, const int32_t[::1] read_writer,
             const int32_t[::1] first_write, const int32_t[::1] write_key, const int32_t[::1] first_placed,
             const int32_t[::1] placed, const int32_t[::1] clock):
    """See sessions.check.breaches: rows of a Breach. guarantee: 0 read your writes, 1 monotonic reads, 2 monotonic writes, 3 writes
    follow reads."""
    cdef vector[int32_t] found
    cdef vector[Bound] bounds
    cdef vector[int64_t] touched
    cdef vector[int32_t] pulled
    cdef vector[Bound] latest
    cdef unordered_map[uint64_t, int32_t] gone
    cdef int32_t k = first_placed.shape[0] - 1, s, other, key, writer, upto, place
    cdef Py_ssize_t at, read, write, node, earlier, inner
    cdef int64_t spot
    cdef uint64_t pair
    cdef bint is_older
    cdef Bound bound, nothing
    nothing.newer = nothing.via = nothing.behind = nothing.seen = -1
    with nogil:
        bounds.assign(keys * k, nothing)
        for s in range(k):
            if guarantee == 1:  # via < 0: the session has not read the key; newer < 0: it read what was there at first.
                latest.assign(keys, nothing)
                gone.clear()
            pulled.assign(k, 0)
            for spot in touched:
                bounds[spot] = nothing
            touched.clear()
            for at in range(first_placed[s], first_placed[s + 1]):
                node = placed[at]
                if guarantee != 0:
                    for read in range(first_read[node], first_read[node + 1]):
                        writer = read_writer[read]
                        if writer < 0:
                            continue
                        other = session[writer]
                        if guarantee == 1:
                            bound = nothing
                            bound.newer, bound.via = writer, <int32_t>node
                            _bind(bounds.data(), touched, <int64_t>read_key[read] * k + other, bound, seq)
                            continue
                        upto = seq[writer] - 1 if guarantee == 2 else seq[writer]
                        for place in range(pulled[other], upto):
                            earlier = placed[first_placed[other] + place]
                            bound.via, bound.behind = <int32_t>node, writer
                            if guarantee == 2:
                                bound.newer, bound.seen = <int32_t>earlier, -1
                                for write in range(first_write[earlier], first_write[earlier + 1]):
                                    _bind(bounds.data(), touched, <int64_t>write_key[write] * k + other, bound, seq)
                            else:
                                bound.seen = <int32_t>earlier
                                for inner in range(first_read[earlier], first_read[earlier + 1]):
                                    bound.newer = read_writer[inner]
                                    if bound.newer >= 0:
                                        spot = <int64_t>read_key[inner] * k + session[bound.newer]
                                        _bind(bounds.data(), touched, spot, bound, seq)
                        if upto > pulled[other]:
                            pulled[other] = upto
                for read in range(first_read[node], first_read[node + 1]):
                    key, writer = read_key[read], read_writer[read]
                    is_older = False
                    for other in range(k):
                        bound = bounds[<int64_t>key * k + other]
                        if bound.newer < 0 or bound.newer == writer:
                            continue
                        if writer < 0 or clock[<int64_t>bound.newer * k + session[writer]] >= seq[writer]:
                            is_older = True
                            break
                    if guarantee == 1 and not is_older:
                        bound = latest[key]
                        if bound.newer >= 0 and bound.newer != writer:
                            pair = (<uint64_t>key << 32) | <uint64_t>(writer + 1)
                            if gone.count(pair):
                                is_older = True
                                bound.behind = gone[pair]
                    if is_older:
                        found.push_back(<int32_t>node)
                        found.push_back(key)
                        found.push_back(writer)
                        found.push_back(bound.newer)
                        found.push_back(bound.via)
                        found.push_back(bound.behind)
                        found.push_back(bound.seen)
                if guarantee == 1:
                    for read in range(first_read[node], first_read[node + 1]):
                        key, writer = read_key[read], read_writer[read]
                        bound = latest[key]
                        if bound.via >= 0 and bound.newer != writer:
                            gone[(<uint64_t>key << 32) | <uint64_t>(bound.newer + 1)] = bound.via
                        bound = nothing
                        bound.newer, bound.via = writer, <int32_t>node
                        latest[key] = bound
                if guarantee == 0:
                    bound = nothing
                    bound.newer = <int32_t>node
                    for write in range(first_write[node], first_write[node + 1]):
                        _bind(bounds.data(), touched, <int64_t>write_key[write] * k + s, bound, seq)
    return _rows(found, 7)
