# Columns of integers as Python's arrays, for each native module that makes some. Inline: there is nothing to be linked.

from cpython cimport array
from libc.string cimport memcpy
from libcpp.vector cimport vector


cdef inline array.array empty_column(Py_ssize_t size):
    """An array("i") of so many numbers, which are still to be written."""
    return array.clone(array.array("i"), size, zero=False)


cdef inline slice_of(const vector[int]& values, int begin, int end):
    """The numbers in values[begin:end] as an array("i")."""
    cdef array.array found = empty_column(end - begin)
    if end > begin:
        memcpy(found.data.as_ints, values.data() + begin, (end - begin) * sizeof(int))
    return found


cdef inline column(const vector[int]& values):
    """All the numbers as an array("i")."""
    return slice_of(values, 0, <int> values.size())
