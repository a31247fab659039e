# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native monitors: what the entries say becomes arrays of integers, and the decision is made without the interpreter.

collection.py and the monitor's own module are the specification: same verdict, same linearization, same core, same reason.
"""

from array import array

from cpython.dict cimport PyDict_GetItemWithError
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.string cimport memcpy
from libcpp.vector cimport vector

from checkers.linearizability.monitors import collection
from checkers.linearizability.monitors.monitor import Decision, undecided
from checkers.verdict import Validity

cdef extern from "collection.hpp" namespace "themis" nogil:
    cdef enum Kind:
        kDropped, kIdle, kPut, kTake, kPeek, kEmpty, kUnknownTake

    cdef enum class Answer:
        kUndecided
        kValid
        kInvalid

    cdef enum class Reason:
        kNone
        kPutTwice
        kPeekedNeverTaken
        kCrashedTakes
        kTooFar

    cdef cppclass Found:
        Answer answer
        vector[int] positions
        Reason reason
        int subject

    cdef cppclass CEntries "themis::Entries":
        int size
        const int* call
        const int* end
        int return_count
        const int* returns
        const int* kind
        const int* value
        int value_count

cdef extern from "fifo.hpp" namespace "themis" nogil:
    Found DecideFifo(const CEntries&) except +


cdef class _Said:
    """The entries as integers; see collection.Said. refused: why they cannot be, or None."""

    cdef vector[int] kind, value
    cdef list values
    cdef dict numbers
    cdef object refused

    def __cinit__(self, entries, model, str put, str take):
        self.values, self.numbers, self.refused = [], {}, None
        if model.initial() != ():
            self.refused = undecided(collection.NOT_EMPTY)
            return
        cdef list operations = entries.operations
        cdef const int[::1] op = entries.op if len(entries.op) else array("i", (0,))
        cdef const int[::1] end = entries.end if len(entries.end) else array("i", (0,))
        cdef Py_ssize_t i, size = len(entries.op)
        self.kind.reserve(size)
        self.value.reserve(size)
        for i in range(size):
            if not self.add(operations[op[i]], end[i] < 0, put, take):
                return

    cdef bint add(self, object operation, bint is_crashed, str put, str take) except -1:
        cdef str f = operation.f
        cdef bint is_known = operation.is_known
        cdef bint is_refused = operation.is_refused
        cdef object subject = None
        cdef int kind = -1
        if f == put:
            subject = operation.argument
            if is_refused:
                kind = kDropped if is_crashed else kIdle
            elif subject is not None and is_known != is_crashed:
                kind = kPut
        elif f == take or f == "peek":
            subject = operation.result
            if is_refused or (is_known and subject is None):
                kind = kDropped if is_crashed else kEmpty
            elif not is_known and not is_crashed:
                kind = -1
            elif f != take:
                kind = kDropped if is_crashed else kPeek
            elif not is_known:
                kind = kUnknownTake
            elif not is_crashed:
                kind = kTake
        if kind < 0:
            self.refused = undecided(collection.odd(operation))
            return False
        self.kind.push_back(kind)
        if kind == kPut or kind == kTake or kind == kPeek:
            return self.number(subject)
        self.value.push_back(-1)
        return True

    cdef bint number(self, object subject) except -1:
        cdef PyObject* found
        if not PyLong_CheckExact(subject) and not PyUnicode_CheckExact(subject) and not collection.is_plain(subject):
            self.refused = undecided(collection.not_plain(subject))
            return False
        found = PyDict_GetItemWithError(self.numbers, subject)
        if found is not NULL:
            self.value.push_back(<object> found)
            return True
        cdef int number = <int> len(self.values)
        self.numbers[subject] = number
        self.values.append(subject)
        self.value.push_back(number)
        return True


cdef decision(const Found& found, list values):
    if found.answer == Answer.kValid:
        return Decision(Validity.VALID, linearization=column(found.positions))
    if found.answer == Answer.kInvalid:
        return Decision(Validity.INVALID, core=sorted(set(found.positions)))
    if found.reason == Reason.kPutTwice:
        return undecided(collection.put_twice(values[found.subject]))
    return undecided(collection.PEEKED_NEVER_TAKEN)


cdef column(const vector[int]& values):
    found = array("i", bytes(values.size() * sizeof(int)))
    cdef int[::1] view
    if values.size():
        view = found
        memcpy(&view[0], values.data(), values.size() * sizeof(int))
    return found


ctypedef Found (*Kernel)(const CEntries&) except + nogil


cdef decide(entries, model, str put, str take, int which):
    cdef _Said said = _Said(entries, model, put, take)
    if said.refused is not None:
        return said.refused
    empty = array("i", (0,))
    cdef const int[::1] call = entries.call if len(entries.call) else empty
    cdef const int[::1] end = entries.end if len(entries.end) else empty
    cdef const int[::1] returns = entries.returns if len(entries.returns) else empty
    cdef CEntries given
    given.size = <int> said.kind.size()
    given.call = &call[0]
    given.end = &end[0]
    given.return_count = <int> len(entries.returns)
    given.returns = &returns[0]
    given.kind = said.kind.data()
    given.value = said.value.data()
    given.value_count = <int> len(said.values)
    cdef Found found
    with nogil:
        found = DecideFifo(given)
    return decision(found, said.values)


def fifo(entries, model):
    """As fifo.decide."""
    return decide(entries, model, "enqueue", "dequeue", 0)
