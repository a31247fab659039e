# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native twins of blocks.arrange, of register.decide, and of append_list where one log that begins empty has an order.

The interpreter lock is released while blocks are put in order.
"""

from array import array

from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libcpp.vector cimport vector

from checkers.linearizability._columns cimport column

from checkers.linearizability.monitors.blocks import Arranged, NEVER
from checkers.linearizability.monitors.monitor import invalid, valid
from checkers.linearizability.operations import FIRST_PAIR, Operations, SEQUENCE, TEXT
from checkers.models.register import KeyValue


cdef extern from "Python.h":
    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    PyObject** PySequence_Fast_ITEMS(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    object PyUnicode_Substring(object, Py_ssize_t, Py_ssize_t)
    Py_ssize_t PyUnicode_Tailmatch(object, object, Py_ssize_t, Py_ssize_t, int) except -1

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

cdef extern from "renumber.hpp" namespace "themis" nogil:
    cdef cppclass Renumber:
        Renumber()
        Renumber(size_t given_count, size_t entry_count) except +
        int number(int given) except +
        int size()
        int given(int ours)

cdef extern from "registers.hpp" namespace "themis" nogil:
    cdef cppclass Registers:
        Registers(const int* call, const int* ret, size_t size) except +
        bint is_repeated()
        void read(int entry, int value) except +
        void free(int entry) except +
        void write(int entry, int value) except +
        void cas(int entry, int old, int value) except +
        bint decide(vector[int]& order, vector[int]& core) except +


cdef enum Does:
    READ, WRITE, DELETE, CAS, NOTHING_KNOWN


cdef const int* start(const int[::1] column):
    return &column[0] if column.shape[0] else NULL


cdef bint are_alike(PyObject* one, PyObject* other) except -1:
    """Whether two scalars are equal."""
    return one == other or <object> one == <object> other


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


cdef dict DOES = {"read": READ, "get": READ, "write": WRITE, "put": WRITE, "delete": DELETE, "cas": CAS}
cdef int FIRST = FIRST_PAIR
cdef int SEQUENCES = SEQUENCE
cdef int TEXTS = TEXT
cdef int LAST = NEVER


def register(entries, model):
    """As register.decide of plain values where nothing is refused a cas; None where it must say: what it leaves open as well."""
    operations = entries.operations
    if not entries.is_plain or not isinstance(operations, Operations) or model.initial() is not None or not len(entries):
        return None
    cdef const int[::1] op = entries.op
    cdef const int[::1] call = entries.call
    cdef const int[::1] end = entries.end
    cdef const int[::1] sort = operations.sort
    cdef const int[::1] argument = operations.argument
    cdef const int[::1] result = operations.result
    cdef const int[::1] kinds = operations.kind
    cdef const int[::1] first = operations.first if len(operations.first) else array("i", (-1,))
    cdef const int[::1] second = operations.second if len(operations.second) else first
    cdef list values = operations.values
    cdef bint is_kv = isinstance(model, KeyValue)
    cdef bint is_decided, is_crashed
    cdef int i, number, flags, does, pair, old, new_, size = <int> op.shape[0]
    cdef vector[int] ret, does_of, order, core
    for f in operations.fs:
        does_of.push_back(DOES.get(f, NOTHING_KNOWN))
    ret.reserve(size)
    for i in range(size):
        ret.push_back(LAST if end[i] < 0 else end[i])
    cdef Renumber* ours = new Renumber(len(values), 2 * <size_t> size)
    cdef Registers* registers = new Registers(&call[0], ret.data(), size)
    try:
        ours.number(0)  # None, which the register holds at first.
        for i in range(size):
            number = op[i]
            does, flags, is_crashed = does_of[sort[number] >> 2], sort[number] & 3, end[i] < 0
            if does == READ:
                if is_crashed:
                    continue
                if flags != 1:
                    registers.free(i)
                    continue
                if is_kv and kinds[result[number]] == TEXTS and not values[result[number]]:
                    return None
                registers.read(i, ours.number(result[number]))
            elif does == WRITE or does == DELETE:
                if flags & 2:
                    registers.free(i)
                else:
                    registers.write(i, ours.number(0 if does == DELETE else argument[number]))
            elif does == CAS and not flags & 2 and FIRST <= kinds[argument[number]] < SEQUENCES:
                pair = argument[number]
                old, new_ = first[pair], second[pair]
                if old != new_:
                    registers.cas(i, ours.number(old), ours.number(new_))
                elif not is_crashed:
                    registers.read(i, ours.number(old))
            else:
                return None
            if registers.is_repeated():
                return None
        with nogil:
            is_decided = registers.decide(order, core)
        if not is_decided:
            return None
        return invalid([each for each in core]) if core.size() else valid(column(order))
    finally:
        del ours
        del registers


cdef enum:
    SEVERAL = -2

cdef dict LOG_DOES = {"append": WRITE, "read": READ, "get": READ}


cdef class _OneLog:
    """A key to which values are only appended, and which is empty at first; see append_list._Log.

    shown: (entry, number of what it returned) of each completed read. writers: those of the pieces of the longest value that
    a read returned. phase_of: length of a shorter one -> how many pieces it has.
    """

    cdef object operations
    cdef list values
    cdef bint is_text
    cdef dict writer
    cdef vector[int] shown, result_of, completed, writers
    cdef vector[int] phase_of
    cdef vector[char] is_shown

    cdef bint sort_out(self, entries) except -1:
        """False where something is there that it does not take."""
        cdef const int[::1] op = entries.op
        cdef const int[::1] end = entries.end
        cdef const int[::1] sort = self.operations.sort
        cdef const int[::1] argument = self.operations.argument
        cdef const int[::1] result = self.operations.result
        cdef const int[::1] kind = self.operations.kind
        cdef vector[int] does_of
        cdef int i, number, does, flags
        for f in self.operations.fs:
            does_of.push_back(LOG_DOES.get(f, NOTHING_KNOWN))
        for i in range(<int> op.shape[0]):
            number = op[i]
            does, flags = does_of[sort[number] >> 2], sort[number] & 3
            if does == NOTHING_KNOWN or flags & 2:
                return False
            if does == WRITE:
                piece = self.values[argument[number]]
                if self.is_text and (kind[argument[number]] != TEXTS or not piece):
                    return False
                if isinstance(piece, list):
                    return False  # Not frozen yet, and so not hashable.
                if self.writer.setdefault(piece, i) != i:
                    self.writer[piece] = SEVERAL
                if end[i] >= 0:
                    self.completed.push_back(i)
            elif end[i] >= 0:
                if not flags & 1:
                    return False
                number = result[number]
                if number and (kind[number] != TEXTS if self.is_text else not FIRST <= kind[number] <= SEQUENCES):
                    return False
                self.shown.push_back(i)
                self.result_of.push_back(number)
        self.is_shown.assign(op.shape[0], 0)
        return True

    cdef bint take_apart(self, object whole) except -1:
        """Fill writers and phase_of from the longest value. False where it cannot be taken apart, or in two ways."""
        cdef Py_ssize_t at = 0, size
        if self.is_text:
            size = PyUnicode_GET_LENGTH(whole)
            self.phase_of.assign(size + 1, -1)
            lengths = sorted(set(map(len, self.writer)))
            self.phase_of[0] = 0
            while at < size:
                fitting = None
                for length in lengths:
                    if at + <Py_ssize_t> length > size:
                        break
                    piece = PyUnicode_Substring(whole, at, at + length)
                    if PyDict_GetItemWithError(self.writer, piece) is not NULL:
                        if fitting is not None:
                            return False
                        fitting = piece
                if fitting is None or not self.show(fitting):
                    return False
                at += PyUnicode_GET_LENGTH(fitting)
                self.phase_of[at] = <int> self.writers.size()
            return True
        for piece in whole:
            if not self.show(piece):
                return False
        for at in range(<Py_ssize_t> self.writers.size() + 1):
            self.phase_of.push_back(<int> at)
        return True

    cdef bint show(self, object piece) except -1:
        cdef PyObject* found = PyDict_GetItemWithError(self.writer, piece)
        cdef int entry = -1 if found is NULL else <object> found
        if entry < 0 or self.is_shown[entry]:
            return False
        self.is_shown[entry] = 1
        self.writers.push_back(entry)
        return True

    cdef bint begins(self, object whole, object value) except -1:
        """Whether the value is how the longest one begins."""
        cdef Py_ssize_t i, size
        if self.is_text:
            return PyUnicode_Tailmatch(whole, value, 0, PyUnicode_GET_LENGTH(whole), -1)
        size = PySequence_Fast_GET_SIZE(value)
        cdef PyObject** a = PySequence_Fast_ITEMS(whole)
        cdef PyObject** b = PySequence_Fast_ITEMS(value)
        for i in range(size):
            if not are_alike(a[i], b[i]):
                return False
        return True


def appended(entries, model):
    """As append_list.decide_list and decide_kv, where a log is empty at first and has an order; None where they must say."""
    operations = entries.operations
    if not entries.is_plain or not isinstance(operations, Operations) or not len(entries):
        return None
    if model.initial() is not None and model.initial() != ():
        return None
    cdef _OneLog log = _OneLog()
    log.operations, log.values, log.is_text = operations, operations.values, isinstance(model, KeyValue)
    log.writer = {}
    if not log.sort_out(entries):
        return None
    cdef size_t i
    cdef int number, longest = 0, phase, entry
    cdef Py_ssize_t length, length_max = 0
    cdef list values = log.values
    cdef object empty = "" if log.is_text else ()
    cdef object whole = empty
    for i in range(log.result_of.size()):
        number = log.result_of[i]
        if number:
            length = len(values[number])
            if length > length_max:
                whole, length_max = values[number], length
    if not log.take_apart(whole):
        return None
    cdef vector[int] writer, begin, read, read_begin, phases, ret, filled
    cdef Renumber seen = Renumber(len(values), log.shown.size())
    cdef vector[int] phase_of_seen
    for i in range(log.result_of.size()):
        number = seen.number(log.result_of[i])
        if number == <int> phase_of_seen.size():
            value = values[log.result_of[i]] if log.result_of[i] else empty
            if not log.begins(whole, value):
                return None
            phase_of_seen.push_back(log.phase_of[<size_t> len(value)])
        if phase_of_seen[number] < 0:
            return None
        phases.push_back(phase_of_seen[number])
    writer.push_back(-1)
    writer.insert(writer.end(), log.writers.begin(), log.writers.end())
    begin.push_back(0)
    begin.push_back(<int> writer.size())
    for entry in log.completed:
        if not log.is_shown[entry]:
            writer.push_back(entry)
            begin.push_back(<int> writer.size())
    read_begin.assign(writer.size() + 1, 0)
    for phase in phases:
        read_begin[phase + 1] += 1
    for i in range(writer.size()):
        read_begin[i + 1] += read_begin[i]
    filled = read_begin
    read.resize(phases.size())
    for i in range(phases.size()):
        read[filled[phases[i]]] = log.shown[i]
        filled[phases[i]] += 1
    cdef const int[::1] call = entries.call
    cdef const int[::1] end = entries.end
    for i in range(<size_t> end.shape[0]):
        ret.push_back(LAST if end[i] < 0 else end[i])
    cdef CBlocks native
    cdef CArranged arranged
    native.call, native.ret, native.writer = &call[0], ret.data(), writer.data()
    native.begin, native.block_count = begin.data(), <int> begin.size() - 1
    native.read, native.read_begin = read.data(), read_begin.data()
    with nogil:
        c_arrange(native, arranged)
    return None if arranged.conflict.size() else valid(column(arranged.order))
