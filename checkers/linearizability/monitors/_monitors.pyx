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
from libcpp.algorithm cimport sort
from libcpp.vector cimport vector

from checkers.linearizability._columns cimport column

from checkers.linearizability.monitors import collection
from checkers.linearizability.monitors.monitor import Decision, undecided
from checkers.linearizability.monitors.sets import ADDED_AND_REMOVED
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
        kAddedAndRemoved
        kInsertionFails

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

cdef extern from "lifo.hpp" namespace "themis" nogil:
    Found DecideLifo(const CEntries&) except +

cdef extern from "priority.hpp" namespace "themis" nogil:
    Found DecidePriority(const CEntries&, const int*, int) except +

cdef extern from "sets.hpp" namespace "themis" nogil:
    cdef enum SetKind:
        kSetDropped, kSetIdle, kAdd, kRemove, kPresent, kAbsent, kRead, kImpossible

    cdef cppclass CSets "themis::Sets":
        int Number(vector[int]&) except +

    Found DecideSet(const CEntries&, const CSets&) except +


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
    if found.reason == Reason.kCrashedTakes:
        return undecided(collection.GREEDY_FAILS)
    if found.reason == Reason.kAddedAndRemoved:
        return undecided(ADDED_AND_REMOVED)
    if found.reason == Reason.kInsertionFails:
        return undecided(collection.INSERTION_FAILS)
    return undecided(collection.PEEKED_NEVER_TAKEN)


cdef CEntries given(entries, vector[int]& kind, vector[int]& value, int value_count) except *:
    """The columns as the kernels see them; they belong to the arguments."""
    cdef const int[::1] call = entries.call if len(entries.call) else array("i", (0,))
    cdef const int[::1] end = entries.end if len(entries.end) else call
    cdef const int[::1] returns = entries.returns if len(entries.returns) else call
    cdef CEntries found
    found.size = <int> kind.size()
    found.call = &call[0]
    found.end = &end[0]
    found.return_count = <int> len(entries.returns)
    found.returns = &returns[0]
    found.kind = kind.data()
    found.value = value.data()
    found.value_count = value_count
    return found


def fifo(entries, model):
    """As fifo.decide."""
    cdef _Said said = _Said(entries, model, "enqueue", "dequeue")
    if said.refused is not None:
        return said.refused
    cdef CEntries history = given(entries, said.kind, said.value, <int> len(said.values))
    cdef Found found
    with nogil:
        found = DecideFifo(history)
    return decision(found, said.values)


def lifo(entries, model):
    """As lifo.decide."""
    cdef _Said said = _Said(entries, model, "push", "pop")
    if said.refused is not None:
        return said.refused
    cdef CEntries history = given(entries, said.kind, said.value, <int> len(said.values))
    cdef Found found
    with nogil:
        found = DecideLifo(history)
    return decision(found, said.values)


def priority(entries, model):
    """As priority.decide."""
    cdef _Said said = _Said(entries, model, "enqueue", "dequeue")
    if said.refused is not None:
        return said.refused
    levels = collection.levels(said.values)
    if isinstance(levels, Decision):
        return levels
    cdef const int[::1] level = levels if len(levels) else array("i", (0,))
    cdef int level_count = max(levels, default=0) + 1
    cdef CEntries history = given(entries, said.kind, said.value, <int> len(said.values))
    cdef Found found
    with nogil:
        found = DecidePriority(history, &level[0], level_count)
    return decision(found, said.values)


cdef class _SaidOfSet:
    """The entries as integers; see sets.SaidOfSet. refused: why they cannot be, or None."""

    cdef vector[int] kind, value
    cdef CSets read_sets
    cdef dict numbers
    cdef object refused

    def __cinit__(self, entries, model):
        self.numbers, self.refused = {}, None
        if model.initial() != frozenset():
            self.refused = undecided(collection.NOT_EMPTY)
            return
        cdef list operations = entries.operations
        cdef const int[::1] op = entries.op if len(entries.op) else array("i", (0,))
        cdef const int[::1] end = entries.end if len(entries.end) else array("i", (0,))
        cdef Py_ssize_t i, size = len(entries.op)
        cdef dict known = {}
        for i in range(size):
            if not self.add(operations[op[i]], op[i], end[i] < 0, known):
                return

    cdef bint add(self, object operation, int number, bint is_crashed, dict known) except -1:
        cdef str f = operation.f
        cdef object result, subject
        cdef int kind = -1
        if operation.is_refused:
            kind = kSetDropped if is_crashed else kSetIdle
        elif f == "add":
            kind = kAdd
        elif f == "remove":
            kind = kRemove
        elif f == "contains" or f == "read":
            result = operation.result
            if is_crashed:
                kind = kSetDropped
            elif not operation.is_known:
                kind = kSetIdle
            elif f == "contains":
                if isinstance(result, bool):
                    kind = kPresent if result else kAbsent
            elif isinstance(result, (tuple, frozenset)):
                return self.read(result, number, known)
        if kind < 0:
            self.refused = undecided(collection.odd(operation))
            return False
        self.kind.push_back(kind)
        if kind == kSetDropped or kind == kSetIdle:
            self.value.push_back(-1)
            return True
        subject = operation.argument
        if not PyLong_CheckExact(subject) and not PyUnicode_CheckExact(subject) and not collection.is_plain(subject):
            self.refused = undecided(collection.not_plain(subject))
            return False
        self.value.push_back(self.number(subject))
        return True

    cdef int number(self, object value) except -1:
        cdef PyObject* found = PyDict_GetItemWithError(self.numbers, value)
        if found is not NULL:
            return <object> found
        cdef int number = <int> len(self.numbers)
        self.numbers[value] = number
        return number

    cdef bint read(self, object result, int number, dict known) except -1:
        cdef vector[int] numbers
        cdef object each
        if number in known:
            kind, value = known[number]
        else:
            for each in result:
                numbers.push_back(self.number(each))
                if not PyLong_CheckExact(each) and not PyUnicode_CheckExact(each) and not collection.is_plain(each):
                    self.refused = undecided(collection.not_plain(result))
                    return False
            if has_twice(numbers):
                kind, value = kImpossible, -1
            else:
                kind, value = kRead, self.read_sets.Number(numbers)
            known[number] = (kind, value)
        self.kind.push_back(kind)
        self.value.push_back(value)
        return True


cdef bint has_twice(vector[int] numbers) noexcept:
    """Whether a number is there twice."""
    cdef size_t i
    sort(numbers.begin(), numbers.end())
    for i in range(1, numbers.size()):
        if numbers[i] == numbers[i - 1]:
            return True
    return False


def sets(entries, model):
    """As sets.decide."""
    cdef _SaidOfSet said = _SaidOfSet(entries, model)
    if said.refused is not None:
        return said.refused
    cdef CEntries history = given(entries, said.kind, said.value, <int> len(said.numbers))
    cdef Found found
    with nogil:
        found = DecideSet(history, said.read_sets)
    return decision(found, [])
