# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native encoder: encode.encode_pure in one pass over the ops' fields, a few tens of ns each.

Fields are read at the offsets that Op's member descriptors give. Whatever is unusual (an op of another class, a process
that is no small integer) is left to the pure encoder; values that are unusual are frozen and compared in Python.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_AsTuple, PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_TYPE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libcpp.vector cimport vector

from checkers.linearizability._columns cimport slice_of

from checkers.models.model import Operation
from histories.op import NEMESIS, Op, freeze


cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset

    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

cdef extern from "structmember.h":
    pass

cdef extern from "tuples.hpp" namespace "themis" nogil:
    cdef cppclass Numbered:
        int number(int f, int argument, int result, int flags) except +
        int size()


cdef enum:
    SMALL = 256  # Integers below are numbered through arrays.
    PROCESSES_MAX = 1 << 22

cdef enum Kind:
    OPEN, OK, FAIL, INFO

cdef int KNOWN = 1
cdef int REFUSED = 2


cdef Py_ssize_t offset_of(str field) except -1:
    """Where the field of an Op is, from the start of the object."""
    descriptor = getattr(Op, field)
    if type(descriptor).__name__ != "member_descriptor":
        raise TypeError(f"Op.{field} is not stored at a fixed place")
    return (<PyMemberDescrObject*> <PyObject*> descriptor).d_member.offset


cdef inline object field_at(object op, Py_ssize_t offset):
    cdef PyObject* found = (<PyObject**> (<char*> <PyObject*> op + offset))[0]
    if found is NULL:
        raise AttributeError("an op lacks a field")
    return <object> found


cdef class Unusual(Exception):
    """The pure encoder must do it."""


cdef class _Values:
    """Numbers for frozen values that no model can tell apart."""

    cdef list values
    cdef dict plain, odd
    cdef object types
    cdef int none
    cdef int small[SMALL]
    cdef vector[int] pairs

    def __cinit__(self, types):
        cdef int i
        self.values = [None]
        self.plain, self.odd = {}, {}
        self.types = types
        self.none = 0
        for i in range(SMALL):
            self.small[i] = -1
        self.pairs.assign(SMALL * SMALL, -1)

    cdef int add(self, object value):
        self.values.append(value)
        return <int> len(self.values) - 1

    cdef int number(self, object value) except -1:
        cdef int small, found
        if value is None:
            return self.none
        if PyLong_CheckExact(value):
            small = small_integer(value)
            if small < 0:
                return self.number_plain(value)
            if self.small[small] < 0:
                self.small[small] = self.add(value)
            return self.small[small]
        if PyUnicode_CheckExact(value):
            return self.number_plain(value)
        if PyList_CheckExact(value) or type(value) is tuple:
            return self.number_sequence(value)
        return self.number_odd(value)

    cdef int number_sequence(self, object value) except -1:
        cdef int a, b
        cdef tuple frozen = PyList_AsTuple(value) if PyList_CheckExact(value) else <tuple> value
        cdef object item
        if PyTuple_GET_SIZE(frozen) == 2:
            a, b = small_integer(<object> PyTuple_GET_ITEM(frozen, 0)), small_integer(<object> PyTuple_GET_ITEM(frozen, 1))
            if a >= 0 and b >= 0:
                if self.pairs[a * SMALL + b] < 0:
                    self.pairs[a * SMALL + b] = self.add(frozen)
                return self.pairs[a * SMALL + b]
        for item in frozen:
            if not (item is None or PyLong_CheckExact(item) or PyUnicode_CheckExact(item)):
                return self.number_odd(value)
        return self.number_plain(frozen)

    cdef int number_plain(self, object value) except -1:
        cdef PyObject* found = PyDict_GetItemWithError(self.plain, value)
        if found is not NULL:
            return <object> found
        cdef int number = self.add(value)
        self.plain[value] = number
        return number

    cdef int number_odd(self, object value) except -1:
        frozen = freeze(value)
        identity = (frozen, self.types(frozen))
        found = self.odd.get(identity)
        if found is None:
            found = self.odd[identity] = self.add(frozen)
        return found


cdef inline int small_integer(object value):
    """The value when it is an integer from 0 to SMALL - 1, else -1."""
    cdef int overflow = 0
    cdef long number
    if not PyLong_CheckExact(value):
        return -1
    number = PyLong_AsLongAndOverflow(value, &overflow)
    return <int> number if not overflow and 0 <= number < SMALL else -1


cdef class _Encoder:
    cdef tuple ops
    cdef bint refused, nil_reads
    cdef vector[int] call, end, kind, op, key, closed
    cdef bint is_plain
    cdef Numbered numbered
    cdef list operations
    cdef dict keys
    cdef Py_ssize_t at_type, at_process, at_f, at_key, at_value

    def __cinit__(self, tuple ops, bint refused, bint nil_reads):
        self.ops = ops
        self.refused = refused
        self.nil_reads = nil_reads
        self.operations = []
        self.keys = {}
        self.at_type, self.at_process = offset_of("type"), offset_of("process")
        self.at_f, self.at_key, self.at_value = offset_of("f"), offset_of("key"), offset_of("value")

    cdef int pair(self, malformed) except -1:
        """Fill call, end, kind and closed (the invocations in order of their completions)."""
        cdef vector[int] open_
        cdef int position, process, overflow, opened
        cdef long long_process
        cdef object op, type_, who
        for position in range(<int> PyTuple_GET_SIZE(self.ops)):
            op = <object> PyTuple_GET_ITEM(self.ops, position)
            if type(op) is not Op:
                raise Unusual
            who = field_at(op, self.at_process)
            if not PyLong_CheckExact(who):
                if who == NEMESIS:
                    continue
                raise Unusual
            overflow = 0
            long_process = PyLong_AsLongAndOverflow(who, &overflow)
            if overflow or long_process < 0 or long_process >= PROCESSES_MAX:
                raise Unusual
            process = <int> long_process
            if process >= <int> open_.size():
                open_.resize(2 * process + 64, -1)
            opened = open_[process]
            type_ = field_at(op, self.at_type)
            if type_ == "invoke":
                if opened >= 0:
                    f = field_at(op, self.at_f)
                    raise malformed(position, "two-open", f"process {process} invoked {f} with an operation open")
                open_[process] = <int> self.call.size()
                self.call.push_back(position)
                self.end.push_back(-1)
                self.kind.push_back(OPEN)
            else:
                if opened < 0:
                    f = field_at(op, self.at_f)
                    raise malformed(position, "no-invocation", f"process {process} completed {f}, not invoked")
                open_[process] = -1
                self.end[opened] = position
                self.kind[opened] = OK if type_ == "ok" else FAIL if type_ == "fail" else INFO
                self.closed.push_back(opened)
        return 0

    cdef int number(self, bint by_key, types, wildcard_fs) except -1:
        """Fill op (-1: left out) and key."""
        cdef _Values values = _Values(types)
        cdef int kind, flags, f, argument, result, number
        cdef size_t i
        cdef object invoked, completed, f_value, result_value, key
        cdef PyObject* found
        for i in range(self.call.size()):
            invoked = <object> PyTuple_GET_ITEM(self.ops, self.call[i])
            kind = self.kind[i]
            if by_key:
                key = field_at(invoked, self.at_key)
                if not (key is None or PyLong_CheckExact(key) or PyUnicode_CheckExact(key)):
                    key = freeze(key)
                found = PyDict_GetItemWithError(self.keys, key)
                if found is NULL:
                    self.keys[key] = len(self.keys)
                    self.key.push_back(<int> len(self.keys) - 1)
                else:
                    self.key.push_back(<object> found)
            if kind == FAIL and not self.refused:
                self.op.push_back(-1)
                continue
            f_value = field_at(invoked, self.at_f)
            f = values.number(f_value)
            argument = values.number(field_at(invoked, self.at_value))
            flags = 0
            result = values.none
            if kind == OK or kind == FAIL:
                completed = <object> PyTuple_GET_ITEM(self.ops, self.end[i])
                result_value = field_at(completed, self.at_value)
                result = values.number(result_value)
                if kind == FAIL:
                    flags = KNOWN | REFUSED
                elif not (self.nil_reads and result_value is None and f_value in wildcard_fs):
                    flags = KNOWN
            number = self.numbered.number(f, argument, result, flags)
            if number == <int> len(self.operations):
                self.operations.append(
                    Operation(
                        f_value,
                        values.values[argument],
                        values.values[result],
                        bool(flags & KNOWN),
                        bool(flags & REFUSED),
                    )
                )
            self.op.push_back(number)
        self.is_plain = not values.odd
        return 0

    cdef dict parts(self, bint by_key, entries_class):
        """Key -> its entries."""
        cdef size_t key_count, i, k
        cdef vector[int] place, begin, returns_begin, op, call, end, returns
        if not by_key:
            if self.call.size():
                self.keys[None] = 0
            self.key.assign(self.call.size(), 0)
        key_count = len(self.keys)
        begin.assign(key_count + 1, 0)
        returns_begin.assign(key_count + 1, 0)
        for i in range(self.call.size()):
            if self.op[i] >= 0:
                begin[self.key[i] + 1] += 1
                returns_begin[self.key[i] + 1] += self.kind[i] == OK or self.kind[i] == FAIL
        for k in range(key_count):
            begin[k + 1] += begin[k]
            returns_begin[k + 1] += returns_begin[k]
        op.resize(begin[key_count])
        call.resize(begin[key_count])
        end.resize(begin[key_count])
        returns.resize(returns_begin[key_count])
        place.assign(self.call.size(), -1)
        cdef vector[int] filled = begin
        for i in range(self.call.size()):
            if self.op[i] < 0:
                continue
            k = self.key[i]
            place[i] = filled[k] - begin[k]
            op[filled[k]] = self.op[i]
            call[filled[k]] = self.call[i]
            end[filled[k]] = -2 - self.end[i] if self.kind[i] == INFO else self.end[i]
            filled[k] += 1
        filled = returns_begin
        for i in range(self.closed.size()):
            if place[self.closed[i]] >= 0 and self.kind[self.closed[i]] != INFO:
                k = self.key[self.closed[i]]
                returns[filled[k]] = place[self.closed[i]]
                filled[k] += 1
        cdef dict found = {}
        for key, number in self.keys.items():
            k = number
            found[key] = entries_class(
                self.ops,
                self.operations,
                slice_of(op, begin[k], begin[k + 1]),
                slice_of(call, begin[k], begin[k + 1]),
                slice_of(end, begin[k], begin[k + 1]),
                slice_of(returns, returns_begin[k], returns_begin[k + 1]),
                self.is_plain,
            )
        return found


def encode(ops, bint by_key, bint refused, bint nil_reads, entries_class, malformed, types, wildcard_fs):
    """As encode.encode_pure; None where the ops are unusual and it must do it."""
    if type(ops) is not tuple:
        return None
    cdef _Encoder encoder = _Encoder(ops, refused, nil_reads)
    try:
        encoder.pair(malformed)
    except Unusual:
        return None
    encoder.number(by_key, types, wildcard_fs)
    return encoder.parts(by_key, entries_class)
