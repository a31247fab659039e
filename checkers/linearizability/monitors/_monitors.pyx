# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native monitors: what the entries say becomes arrays of integers, and the decision is made without the interpreter.

collection.py and the monitor's own module are the specification: same verdict, same linearization, same core, same reason.
"""

from array import array

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsLongLong, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t
from libcpp.algorithm cimport sort
from libcpp.vector cimport vector

from checkers.linearizability._columns cimport column

from checkers.linearizability.operations import FIRST_PAIR, INTEGER, Operations, SEQUENCE
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

cdef extern from "../tuples.hpp" namespace "themis" nogil:
    void fetched(const void*)

cdef extern from "renumber.hpp" namespace "themis" nogil:
    cdef cppclass Renumber:
        Renumber()
        Renumber(size_t given_count, size_t entry_count) except +
        int number(int given) except +
        void fetch(int given)
        int size()
        int given(int ours)

cdef extern from "fifo.hpp" namespace "themis" nogil:
    Found DecideFifo(const CEntries&) except +

cdef extern from "lifo.hpp" namespace "themis" nogil:
    Found DecideLifo(const CEntries&) except +

cdef extern from "priority.hpp" namespace "themis" nogil:
    Found DecidePriority(const CEntries&, const int*, int) except +
    int Rank(const vector[int64_t]&, vector[int]&) except +

cdef extern from "sets.hpp" namespace "themis" nogil:
    cdef enum SetKind:
        kSetDropped, kSetIdle, kAdd, kRemove, kPresent, kAbsent, kRead, kImpossible

    cdef cppclass CSets "themis::Sets":
        int Number(vector[int]&) except +

    Found DecideSet(const CEntries&, const CSets&) except +


cdef enum Role:
    OTHER, PUTS, TAKES, PEEKS


cdef class _Said:
    """The entries as integers; see collection.Said. refused: why they cannot be, or None. value_count: how many values there are."""

    cdef vector[int] kind, value
    cdef int value_count
    cdef list values
    cdef dict numbers
    cdef object refused, operations
    cdef Renumber ours  # Where the encoder has numbered the values.

    def __cinit__(self, entries, model, str put, str take):
        self.values, self.numbers, self.refused, self.value_count = [], {}, None, 0
        if model.initial() != ():
            self.refused = undecided(collection.NOT_EMPTY)
            return
        self.operations = entries.operations
        cdef const int[::1] op = entries.op if len(entries.op) else array("i", (0,))
        cdef const int[::1] end = entries.end if len(entries.end) else array("i", (0,))
        cdef Py_ssize_t i, size = len(entries.op)
        self.kind.reserve(size)
        self.value.reserve(size)
        if entries.is_plain and isinstance(self.operations, Operations) and size:
            self.add_all(op, end, put, take)
            return
        for i in range(size):
            if not self.add(self.operations[op[i]], end[i] < 0, put, take):
                return

    cdef int add_all(self, const int[::1] op, const int[::1] end, str put, str take) except -1:
        """As `add` of each entry, from the encoder's columns: of plain values, those of two numbers are never equal."""
        cdef const int[::1] sort = self.operations.sort
        cdef const int[::1] argument = self.operations.argument
        cdef const int[::1] result = self.operations.result
        cdef vector[int] roles
        cdef Py_ssize_t i
        cdef int flags, subject, kind, role, number
        for f in self.operations.fs:
            roles.push_back(PUTS if f == put else TAKES if f == take else PEEKS if f == "peek" else OTHER)
        self.ours = Renumber(len(self.operations.values), op.shape[0])
        for i in range(op.shape[0]):
            number = op[i]
            role, flags = roles[sort[number] >> 2], sort[number] & 3
            subject = argument[number] if role == PUTS else result[number]
            kind = meaning(role, (flags & 1) != 0, (flags & 2) != 0, subject == 0, end[i] < 0)
            if kind < 0:
                self.refused = undecided(collection.odd(self.operations[number]))
                return 0
            self.kind.push_back(kind)
            if kind == kPut or kind == kTake or kind == kPeek:
                self.value.push_back(self.ours.number(subject))
            else:
                self.value.push_back(-1)
        self.value_count = self.ours.size()
        return 0

    cdef bint add(self, object operation, bint is_crashed, str put, str take) except -1:
        cdef str f = operation.f
        cdef Role role = PUTS if f == put else TAKES if f == take else PEEKS if f == "peek" else OTHER
        cdef object subject = operation.argument if role == PUTS else operation.result
        cdef int kind = meaning(role, operation.is_known, operation.is_refused, subject is None, is_crashed)
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
        self.value_count += 1
        return True

    def subject(self, int number):
        """The value of a number."""
        value = self.operations.values[self.ours.given(number)] if self.ours.size() else self.values[number]
        return tuple(value) if isinstance(value, list) else value

    cdef int rank(self, vector[int]& levels) except -1:
        """As collection.levels, where all priorities are integers of 64 bits: how many levels there are; 0 where they are not."""
        cdef list values = self.operations.values
        cdef const int[::1] kind = self.operations.kind
        cdef const int[::1] first = self.operations.first if len(self.operations.first) else array("i", (-1,))
        cdef vector[int64_t] priorities
        cdef int i, number
        cdef vector[int] numbers
        numbers.reserve(self.value_count)
        for i in range(self.value_count):
            number = self.ours.given(i)
            if FIRST <= kind[number] < SEQUENCES:
                number = first[number]
            if kind[number] != INTEGERS:
                return 0
            numbers.push_back(number)
        priorities.reserve(self.value_count)
        for i in range(self.value_count):
            if i + 16 < self.value_count:
                fetched(PyList_GET_ITEM(values, numbers[i + 16]))
            number = numbers[i]
            try:
                priorities.push_back(PyLong_AsLongLong(values[number]))
            except OverflowError:
                return 0
        return Rank(priorities, levels)


cdef int INTEGERS = INTEGER
cdef int FIRST = FIRST_PAIR
cdef int SEQUENCES = SEQUENCE


cdef inline int meaning(int role, bint is_known, bint is_refused, bint is_none, bint is_crashed) noexcept:
    """As collection._meaning; -1: none of the kinds. is_none: what it puts in, or what it returned, is None."""
    if role == PUTS:
        if is_refused:
            return kDropped if is_crashed else kIdle
        return kPut if not is_none and is_known != is_crashed else -1
    if role == OTHER:
        return -1
    if is_refused or (is_known and is_none):
        return kDropped if is_crashed else kEmpty
    if not is_known and not is_crashed:
        return -1
    if role == PEEKS:
        return kDropped if is_crashed else kPeek
    if not is_known:
        return kUnknownTake
    return -1 if is_crashed else kTake


cdef decision(const Found& found, _Said said):
    if found.answer == Answer.kValid:
        return Decision(Validity.VALID, linearization=column(found.positions))
    if found.answer == Answer.kInvalid:
        return Decision(Validity.INVALID, core=sorted(set(found.positions)))
    if found.reason == Reason.kPutTwice:
        return undecided(collection.put_twice(said.subject(found.subject)))
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
    cdef CEntries history = given(entries, said.kind, said.value, said.value_count)
    cdef Found found
    with nogil:
        found = DecideFifo(history)
    return decision(found, said)


def lifo(entries, model):
    """As lifo.decide."""
    cdef _Said said = _Said(entries, model, "push", "pop")
    if said.refused is not None:
        return said.refused
    cdef CEntries history = given(entries, said.kind, said.value, said.value_count)
    cdef Found found
    with nogil:
        found = DecideLifo(history)
    return decision(found, said)


def priority(entries, model):
    """As priority.decide."""
    cdef _Said said = _Said(entries, model, "enqueue", "dequeue")
    if said.refused is not None:
        return said.refused
    cdef vector[int] level
    cdef int level_count = said.rank(level) if said.ours.size() else 0
    if not level_count:
        levels = collection.levels([said.subject(v) for v in range(said.value_count)])
        if isinstance(levels, Decision):
            return levels
        level = levels
        level_count = max(levels, default=0) + 1
    cdef CEntries history = given(entries, said.kind, said.value, said.value_count)
    cdef Found found
    with nogil:
        found = DecidePriority(history, level.data(), level_count)
    return decision(found, said)


cdef class _SaidOfSet:
    """The entries as integers; see sets.SaidOfSet. refused: why they cannot be, or None."""

    cdef vector[int] kind, value
    cdef CSets read_sets
    cdef int value_count
    cdef dict numbers
    cdef object refused

    def __cinit__(self, entries, model):
        self.numbers, self.refused, self.value_count = {}, None, 0
        if model.initial() != frozenset():
            self.refused = undecided(collection.NOT_EMPTY)
            return
        operations = entries.operations
        cdef const int[::1] op = entries.op if len(entries.op) else array("i", (0,))
        cdef const int[::1] end = entries.end if len(entries.end) else array("i", (0,))
        cdef Py_ssize_t i, size = len(entries.op)
        cdef dict known = {}
        if entries.is_plain and isinstance(operations, Operations) and size and self.add_all(operations, op, end):
            return
        for i in range(size):
            if not self.add(operations[op[i]], op[i], end[i] < 0, known):
                return

    cdef bint add_all(self, operations, const int[::1] op, const int[::1] end) except -1:
        """As `add` of each entry, from the encoder's columns; False where reads of the whole set or odd operations need `add`."""
        cdef const int[::1] sort = operations.sort
        cdef const int[::1] argument = operations.argument
        cdef const int[::1] result = operations.result
        cdef list values = operations.values
        cdef vector[int] does
        cdef Renumber ours
        cdef Py_ssize_t i
        cdef int number, flags, f, kind
        cdef object answer
        for name in operations.fs:
            does.push_back(
                kAdd if name == "add" else kRemove if name == "remove" else kPresent if name == "contains" else kRead
            )
        ours = Renumber(len(values), op.shape[0])
        for i in range(op.shape[0]):
            if i + 16 < op.shape[0]:
                ours.fetch(argument[op[i + 16]])
            number = op[i]
            f, flags = does[sort[number] >> 2], sort[number] & 3
            if flags & 2:
                kind = kSetDropped if end[i] < 0 else kSetIdle
            elif f != kPresent:
                kind = f
            elif end[i] < 0:
                kind = kSetDropped
            elif not flags & 1:
                kind = kSetIdle
            else:
                answer = values[result[number]]
                kind = kPresent if answer is True else kAbsent if answer is False else kRead
            if kind == kRead:
                self.kind.clear()
                self.value.clear()
                self.value_count = 0
                return False
            self.kind.push_back(kind)
            if kind == kSetDropped or kind == kSetIdle:
                self.value.push_back(-1)
                continue
            self.value.push_back(ours.number(argument[number]))
        self.value_count = ours.size()
        return True

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
        self.value_count += 1
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
    cdef CEntries history = given(entries, said.kind, said.value, said.value_count)
    cdef Found found
    with nogil:
        found = DecideSet(history, said.read_sets)
    return decision(found, None)
