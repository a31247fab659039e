# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native twin of blocks.arrange, with the interpreter lock released."""

from libcpp.vector cimport vector

from checkers.linearizability._columns cimport column

from checkers.linearizability.monitors.blocks import Arranged


cdef extern from "blocks.hpp" namespace "themis" nogil:
    cdef cppclass CBlocks "themis::Blocks":
        const int* call
        const int* ret
        const int* writer
        const int* begin
        int block_count
        const int* read
        const int* read_begin

    cdef cppclass CArranged "themis::Arranged":
        vector[int] order
        vector[int] moment
        vector[int] conflict

    void c_arrange "themis::arrange"(const CBlocks&, CArranged&) except +


cdef const int* start(const int[::1] column):
    return &column[0] if column.shape[0] else NULL


def arrange(blocks):
    """As blocks.arrange."""
    cdef const int[::1] call = blocks.call
    cdef const int[::1] ret = blocks.ret
    cdef const int[::1] writer = blocks.writer
    cdef const int[::1] begin = blocks.begin
    cdef const int[::1] read = blocks.read
    cdef const int[::1] read_begin = blocks.read_begin
    cdef CBlocks native
    cdef CArranged arranged
    native.call, native.ret, native.writer = start(call), start(ret), start(writer)
    native.begin, native.block_count = start(begin), <int> begin.shape[0] - 1
    native.read, native.read_begin = start(read), start(read_begin)
    with nogil:
        c_arrange(native, arranged)
    return Arranged(column(arranged.order), column(arranged.moment), column(arranged.conflict))
