# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""The native encoder: encode.encode_pure in one pass over the ops' fields, a few tens of ns each.

Fields are read at the offsets that Op's member descriptors give, and those of a long file from its columns, without an op. Whatever is
unusual (an op of another class, a process that is no small integer) is left to the pure encoders; values that are unusual are
frozen and compared in Python.
"""

from cpython cimport array
from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject, PyObject_Hash
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector

from checkers.linearizability._columns cimport column, empty_column, slice_of

from checkers.linearizability import operations as columns
from checkers.linearizability.operations import Operations
from histories.columns import BY_NEMESIS, OpColumns, TYPES
from histories.op import NEMESIS, Op, freeze


cdef extern from "Python.h":
    ctypedef struct PyMemberDef:
        Py_ssize_t offset

    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member

    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    PyObject** PySequence_Fast_ITEMS(object)
    long long PyLong_AsLongLongAndOverflow(object, int*) except? -1

cdef extern from "structmember.h":
    pass

cdef extern from "tuples.hpp" namespace "themis" nogil:
    cdef cppclass Integers:
        int number(int64_t integer, int next) except +
        void fetch(int64_t integer)

    cdef cppclass Tuple "themis::Numbered::Tuple":
        int sort
        int argument
        int result

    cdef cppclass Numbered:
        int number(int sort, int argument, int result) except +
        const vector[Tuple]& tuples()
        void fetch_slot(int sort, int argument, int result)
        void fetch_tuple(int sort, int argument, int result)

    uint64_t mixed(uint64_t hash, uint64_t part)
    void fetched(const void*)

cdef extern from "texts.hpp" namespace "themis":
    cdef cppclass Texts:
        int number(PyObject* text, int next) except +
        void fetch_slot(PyObject* text)
        void fetch_known(PyObject* text)


cdef enum:
    PROCESSES_MAX = 1 << 22
    SMALL = 256  # Pairs of values with numbers below are found without hashing.
    AHEAD = 16  # Places that ops are fetched into the cache before they are read; what they lead to half as many, and so on.
    FEW = 4096  # Tables of fewer are in the cache anyway.
    LATER = -2  # In place of a value's number: it is no scalar, and is numbered in the second pass.
    TRUE = -3
    FALSE = -4
    SHAPES = 14  # More than kinds.

cdef enum Kind:
    OPEN, OK, FAIL, INFO

cdef int64_t NOBODY = BY_NEMESIS
cdef int KNOWN = columns.KNOWN
cdef int REFUSED = columns.REFUSED
cdef int NOTHING = columns.NOTHING
cdef int INTEGER = columns.INTEGER
cdef int TEXT = columns.TEXT
cdef int FIRST_PAIR = columns.FIRST_PAIR
cdef int SEQUENCE = columns.SEQUENCE
cdef int ODD = columns.ODD


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
    """Numbers for values that no model can tell apart; see operations.Operations. Lists are frozen when somebody looks."""

    cdef list values
    cdef dict huge, sequences, odd
    cdef object types
    cdef Integers integers
    cdef Texts texts
    cdef Numbered pairs
    cdef vector[int] kind, first, second, of_pair, small_pairs

    def __cinit__(self, types):
        self.small_pairs.assign(SMALL * SMALL, -1)
        self.values = []
        self.huge, self.sequences, self.odd = {}, {}, {}
        self.types = types
        self.add(None, NOTHING)

    cdef int add(self, object value, int kind) except -1:
        self.values.append(value)
        self.kind.push_back(kind)
        return <int> self.kind.size() - 1

    cdef inline int scalar(self, object value) except -1:
        """The number of an integer, a text or None; LATER for anything else."""
        cdef int overflow = 0
        cdef long long integer
        cdef int found
        if value is None:
            return 0
        if PyLong_CheckExact(value):
            integer = PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return self.number_huge(value)
            found = self.integers.number(integer, <int> self.kind.size())
            return found if found >= 0 else self.add(value, INTEGER)
        if PyUnicode_CheckExact(value):
            found = self.texts.number(<PyObject*> value, <int> self.kind.size())
            return found if found >= 0 else self.add(value, TEXT)
        return LATER

    cdef void fetch_slot(self, object value) noexcept:
        """Have the place where a scalar is looked up in the cache when its turn comes."""
        cdef int overflow = 0
        cdef long long integer
        if PyLong_CheckExact(value):
            integer = PyLong_AsLongLongAndOverflow(value, &overflow)
            if not overflow:
                self.integers.fetch(integer)
        elif PyUnicode_CheckExact(value):
            self.texts.fetch_slot(<PyObject*> value)

    cdef int number_huge(self, object value) except -1:
        """The number of an integer beyond 64 bits."""
        cdef PyObject* found = PyDict_GetItemWithError(self.huge, value)
        if found is not NULL:
            return <object> found
        cdef int number = self.add(value, INTEGER)
        self.huge[value] = number
        return number

    cdef int number(self, object value) except -1:
        """The number of any value."""
        cdef int found = self.scalar(value)
        if found != LATER:
            return found
        if PyList_CheckExact(value) or type(value) is tuple:
            if PySequence_Fast_GET_SIZE(value) == 2:
                return self.pair(value)
            return self.sequence(value)
        return self.number_odd(value)

    cdef int pair(self, object value) except -1:
        cdef PyObject** items = PySequence_Fast_ITEMS(value)
        cdef int a = self.scalar(<object> items[0])
        cdef int b = self.scalar(<object> items[1]) if a != LATER else LATER
        cdef int which, number
        if b == LATER:
            return self.number_odd(value)
        if a < SMALL and b < SMALL and self.small_pairs[a * SMALL + b] >= 0:
            return self.small_pairs[a * SMALL + b]
        which = self.pairs.number(0, a, b)
        if which < <int> self.of_pair.size():
            return self.of_pair[which]
        number = self.add(value, FIRST_PAIR + 3 * self.kind[a] + self.kind[b])
        self.first.resize(number + 1, -1)
        self.second.resize(number + 1, -1)
        self.first[number], self.second[number] = a, b
        self.of_pair.push_back(number)
        if a < SMALL and b < SMALL:
            self.small_pairs[a * SMALL + b] = number
        return number

    cdef int sequence(self, object value) except -1:
        """A list of scalars, of any length but two."""
        cdef PyObject** items = PySequence_Fast_ITEMS(value)
        cdef Py_ssize_t i, size = PySequence_Fast_GET_SIZE(value)
        cdef uint64_t hash = <uint64_t> size
        cdef int overflow
        cdef long long integer
        cdef object item
        for i in range(size):
            item = <object> items[i]
            if PyLong_CheckExact(item):
                integer = PyLong_AsLongLongAndOverflow(item, &overflow)
                hash = mixed(hash, <uint64_t> (PyObject_Hash(item) if overflow else integer))
            elif PyUnicode_CheckExact(item):
                hash = mixed(hash, <uint64_t> PyObject_Hash(item))
            elif item is None:
                hash = mixed(hash, 1)
            else:
                return self.number_odd(value)
        cdef object name = hash
        cdef PyObject* alike = PyDict_GetItemWithError(self.sequences, name)
        cdef object each
        cdef int number
        if alike is not NULL:
            for each in <list> alike:
                if are_equal(self.values[each], value):
                    return each
        number = self.add(value, SEQUENCE)
        if alike is NULL:
            self.sequences[name] = [number]
        else:
            (<list> alike).append(number)
        return number

    cdef int number_odd(self, object value) except -1:
        frozen = freeze(value)
        identity = (frozen, self.types(frozen))
        found = self.odd.get(identity)
        if found is None:
            found = self.odd[identity] = self.add(frozen, ODD)
        return found


cdef bint are_equal(object one, object other) except -1:
    """Whether two lists or tuples of scalars hold the same."""
    cdef Py_ssize_t i, size = PySequence_Fast_GET_SIZE(one)
    cdef PyObject** a = PySequence_Fast_ITEMS(one)
    cdef PyObject** b = PySequence_Fast_ITEMS(other)
    if PySequence_Fast_GET_SIZE(other) != size:
        return False
    for i in range(size):
        if a[i] != b[i] and <object> a[i] != <object> b[i]:
            return False
    return True


cdef class _Encoder:
    cdef object ops  # A tuple, or OpColumns.
    cdef list things  # Of the columns; None where there are ops.
    cdef const int[::1] value_column
    cdef vector[int] read_before  # The number of each thing, where it is a scalar that was read; else LATER.
    cdef bint refused, nil_reads
    cdef vector[int] call, end, op, key, closed, f, argument, result
    cdef vector[char] kind
    cdef bint is_plain
    cdef int true, false
    cdef _Values values
    cdef Numbered numbered
    cdef list fs
    cdef dict number_of_f
    cdef vector[int] examples
    cdef dict keys
    cdef Py_ssize_t at_type, at_process, at_f, at_key, at_value

    def __cinit__(self, ops, bint refused, bint nil_reads, types):
        self.ops = ops
        self.things = None
        self.refused = refused
        self.nil_reads = nil_reads
        self.values = _Values(types)
        self.fs, self.number_of_f = [], {}
        self.keys = {}
        self.is_plain = True
        self.true = self.false = -1
        self.at_type, self.at_process = offset_of("type"), offset_of("process")
        self.at_f, self.at_key, self.at_value = offset_of("f"), offset_of("key"), offset_of("value")

    cdef inline PyObject* value_at(self, Py_ssize_t position):
        """The value of the op at the position, if it is one."""
        cdef PyObject* op = PyTuple_GET_ITEM(self.ops, position)
        return (<PyObject**> (<char*> op + self.at_value))[0] if type(<object> op) is Op else NULL

    cdef inline void fetch(self, Py_ssize_t position, Py_ssize_t size) noexcept:
        """Have ops, the values of nearer ones, and where still nearer ones are looked up, in the cache when their turn comes."""
        cdef char* op
        cdef PyObject* value
        if position + AHEAD < size:
            op = <char*> PyTuple_GET_ITEM(self.ops, position + AHEAD)
            fetched(op)
            fetched(op + 64)
        if position + AHEAD // 2 < size:
            fetched(self.value_at(position + AHEAD // 2))
        if self.values.kind.size() < FEW:
            return
        if position + AHEAD // 4 < size:
            value = self.value_at(position + AHEAD // 4)
            if value is not NULL:
                self.values.fetch_slot(<object> value)
        if position + AHEAD // 8 < size:
            value = self.value_at(position + AHEAD // 8)
            if value is not NULL and PyUnicode_CheckExact(<object> value):
                self.values.texts.fetch_known(value)

    cdef int reserve(self, Py_ssize_t size, bint by_key) except -1:
        """Room for so many events."""
        self.call.reserve(size // 2 + 1)
        self.end.reserve(size // 2 + 1)
        self.kind.reserve(size // 2 + 1)
        self.f.reserve(size // 2 + 1)
        self.argument.reserve(size // 2 + 1)
        self.result.reserve(size // 2 + 1)
        self.closed.reserve(size // 2 + 1)
        if by_key:
            self.key.reserve(size // 2 + 1)
        return 0

    cdef int pair(self, bint by_key, malformed) except -1:
        """Fill call, end, kind, f, argument, result, key and closed (the invocations in order of their completions)."""
        cdef vector[int] open_
        cdef int position, process, overflow, opened
        cdef Py_ssize_t size = PyTuple_GET_SIZE(self.ops)
        cdef long long long_process
        cdef object op, type_, who
        cdef object f_before = None
        cdef object key, key_before = self
        cdef int f = -1, key_number = -1
        self.reserve(size, by_key)
        for position in range(<int> size):
            self.fetch(position, size)
            op = <object> PyTuple_GET_ITEM(self.ops, position)
            if type(op) is not Op:
                raise Unusual
            who = field_at(op, self.at_process)
            if not PyLong_CheckExact(who):
                if who == NEMESIS:
                    continue
                raise Unusual
            overflow = 0
            long_process = PyLong_AsLongLongAndOverflow(who, &overflow)
            if overflow or long_process < 0 or long_process >= PROCESSES_MAX:
                raise Unusual
            process = <int> long_process
            if process >= <int> open_.size():
                open_.resize(2 * process + 64, -1)
            opened = open_[process]
            type_ = field_at(op, self.at_type)
            if type_ == "invoke":
                if opened >= 0:
                    raise malformed(
                        position, "two-open", f"process {process} invoked {field_at(op, self.at_f)} with an operation open"
                    )
                open_[process] = <int> self.call.size()
                self.call.push_back(position)
                self.end.push_back(-1)
                self.kind.push_back(OPEN)
                f_now = field_at(op, self.at_f)
                if f_now is not f_before:
                    f, f_before = self.numbered_f(f_now), f_now
                self.f.push_back(f)
                if by_key:
                    key = field_at(op, self.at_key)
                    if key is not key_before:
                        key_number, key_before = self.numbered_key(key), key
                    self.key.push_back(key_number)
                self.argument.push_back(self.read(field_at(op, self.at_value)))
                self.result.push_back(0)
            else:
                if opened < 0:
                    raise malformed(
                        position, "no-invocation", f"process {process} completed {field_at(op, self.at_f)}, not invoked"
                    )
                open_[process] = -1
                self.end[opened] = position
                self.closed.push_back(opened)
                if type_ == "ok" or type_ == "fail":
                    self.kind[opened] = OK if type_ == "ok" else FAIL
                    self.result[opened] = self.read(field_at(op, self.at_value))
                else:
                    self.kind[opened] = INFO
        return 0

    cdef int pair_columns(self, bint by_key, malformed) except -1:
        """As `pair`, of OpColumns: what the ops name has numbers already, so each f, key and scalar is looked at once."""
        cdef const signed char[::1] types = self.ops.type
        cdef const int64_t[::1] processes = self.ops.process
        cdef const int[::1] f_column = self.ops.f
        cdef const int[::1] key_column = self.ops.key
        cdef vector[int] open_, kinds, f_numbers, key_numbers
        cdef int position, process, opened, kind, thing
        cdef Py_ssize_t size = len(self.ops)
        self.value_column = self.ops.value
        self.things = self.ops.things
        for name in TYPES:
            kinds.push_back(OPEN if name == "invoke" else OK if name == "ok" else FAIL if name == "fail" else INFO)
        self.read_before.assign(len(self.things), LATER)
        f_numbers.assign(len(self.things), -1)
        key_numbers.assign(len(self.things), -1)
        self.reserve(size, by_key)
        for position in range(<int> size):
            if processes[position] == NOBODY:
                continue
            if processes[position] < 0 or processes[position] >= PROCESSES_MAX:
                raise Unusual
            process = <int> processes[position]
            if process >= <int> open_.size():
                open_.resize(2 * process + 64, -1)
            opened = open_[process]
            kind = kinds[types[position]]
            thing = f_column[position]
            if kind != OPEN:
                if opened < 0:
                    raise malformed(
                        position, "no-invocation", f"process {process} completed {self.things[thing]}, not invoked"
                    )
                open_[process] = -1
                self.end[opened] = position
                self.closed.push_back(opened)
                self.kind[opened] = kind
                if kind != INFO:
                    self.result[opened] = self.read_thing(self.value_column[position])
                continue
            if opened >= 0:
                raise malformed(
                    position, "two-open", f"process {process} invoked {self.things[thing]} with an operation open"
                )
            open_[process] = <int> self.call.size()
            self.call.push_back(position)
            self.end.push_back(-1)
            self.kind.push_back(OPEN)
            if f_numbers[thing] < 0:
                f_numbers[thing] = self.numbered_f(self.things[thing])
            self.f.push_back(f_numbers[thing])
            if by_key:
                thing = key_column[position]
                if key_numbers[thing] < 0:
                    key_numbers[thing] = self.numbered_key(self.things[thing])
                self.key.push_back(key_numbers[thing])
            self.argument.push_back(self.read_thing(self.value_column[position]))
            self.result.push_back(0)
        return 0

    cdef inline int read_thing(self, int thing) except? -1:
        """As `read`, of the thing of this number."""
        if self.read_before[thing] != LATER:
            return self.read_before[thing]
        cdef int found = self.read(self.things[thing])
        if found >= 0:
            self.read_before[thing] = found
        return found

    cdef inline int read(self, object value) except? -1:
        """The number of a scalar; LATER, TRUE or FALSE for what is numbered in the second pass."""
        cdef int found = self.values.scalar(value)
        if found != LATER:
            return found
        if value is True or value is False:  # Numbered now, so that other values are newer.
            found = TRUE if value is True else FALSE
            self.later(found, -1)
            return found
        return LATER

    cdef int numbered_key(self, object key) except -1:
        if not (key is None or PyLong_CheckExact(key) or PyUnicode_CheckExact(key)):
            key = freeze(key)
        cdef PyObject* found = PyDict_GetItemWithError(self.keys, key)
        if found is not NULL:
            return <object> found
        cdef int number = <int> len(self.keys)
        self.keys[key] = number
        return number

    cdef int numbered_f(self, object f) except -1:
        cdef Py_ssize_t i
        for i in range(PyList_GET_SIZE(self.fs)):
            if PyList_GET_ITEM(self.fs, i) == <PyObject*> f:
                return <int> i
        if not PyUnicode_CheckExact(f):
            raise Unusual
        number = self.number_of_f.setdefault(f, len(self.fs))
        if number == len(self.fs):
            self.fs.append(f)
        return number

    cdef int number(self, wildcard_fs) except -1:
        """Fill op (-1: left out) and examples."""
        cdef _Values values = self.values
        cdef int kind, flags, f, argument, result, number, shape
        cdef size_t i
        cdef vector[int] is_wildcard, is_look
        cdef bint has_answered
        cdef vector[int] example
        example.assign(len(self.fs) * SHAPES * SHAPES * 8, -1)
        for each in self.fs:
            is_wildcard.push_back(<int> (self.nil_reads and each in wildcard_fs))
            is_look.push_back(<int> (each == "contains"))
        self.op.reserve(self.call.size())
        for i in range(self.call.size()):
            kind = self.kind[i]
            if kind == FAIL and not self.refused:
                self.op.push_back(-1)
                continue
            self.fetch_tuples(i, is_wildcard)
            f, argument, result = self.f[i], self.argument[i], self.result[i]
            if argument < 0:
                argument = self.later(argument, self.call[i])
                self.is_plain = self.is_plain and values.kind[argument] != ODD
            if result < 0:
                has_answered = result <= TRUE and is_look[f]
                result = self.later(result, self.end[i])
                self.is_plain = self.is_plain and (has_answered or values.kind[result] != ODD)
            flags = self.flags(i, result, is_wildcard)
            number = self.numbered.number(f * 4 + flags, argument, result)
            self.op.push_back(number)
            shape = ((f * SHAPES + values.kind[argument]) * SHAPES + values.kind[result]) * 8
            shape += flags * 2 + (argument == result)
            if example[shape] < 0:
                example[shape] = number
                self.examples.push_back(number)
        return 0

    cdef inline int flags(self, size_t i, int result, const vector[int]& is_wildcard) noexcept:
        """KNOWN and REFUSED, as far as they hold of the operation that returned the value of this number."""
        if self.kind[i] == FAIL:
            return KNOWN | REFUSED
        return KNOWN if self.kind[i] == OK and not (is_wildcard[self.f[i]] and result == 0) else 0

    cdef inline void fetch_tuples(self, size_t i, const vector[int]& is_wildcard) noexcept:
        """Have the places where later operations are looked up in the cache when their turn comes."""
        cdef int argument, result
        cdef size_t ahead = i + AHEAD
        if self.numbered.tuples().size() < FEW:
            return
        if ahead < self.call.size():
            argument, result = self.argument[ahead], self.known_result(ahead)
            if argument >= 0 and result >= 0:
                fetched(self.values.kind.data() + argument)
                fetched(self.values.kind.data() + result)
                self.numbered.fetch_slot(self.f[ahead] * 4 + self.flags(ahead, result, is_wildcard), argument, result)
        ahead = i + AHEAD // 2
        if ahead < self.call.size():
            argument, result = self.argument[ahead], self.known_result(ahead)
            if argument >= 0 and result >= 0:
                self.numbered.fetch_tuple(self.f[ahead] * 4 + self.flags(ahead, result, is_wildcard), argument, result)

    cdef inline int known_result(self, size_t i) noexcept:
        """The number of the i-th operation's result; below 0 where it has none yet."""
        cdef int result = self.result[i]
        return self.true if result == TRUE else self.false if result == FALSE else result

    cdef int later(self, int read, int position) except -1:
        """The number of the value of the op at the position, of which the first pass has read so much."""
        if read == TRUE:
            if self.true < 0:
                self.true = self.values.number_odd(True)
            return self.true
        if read == FALSE:
            if self.false < 0:
                self.false = self.values.number_odd(False)
            return self.false
        if self.things is not None:
            return self.values.number(self.things[self.value_column[position]])
        return self.values.number(field_at(<object> PyTuple_GET_ITEM(self.ops, position), self.at_value))

    cdef object operations(self):
        """The distinct operations."""
        cdef _Values values = self.values
        cdef array.array sort = empty_column(self.numbered.tuples().size())
        cdef array.array argument = empty_column(self.numbered.tuples().size())
        cdef array.array result = empty_column(self.numbered.tuples().size())
        cdef size_t i
        for i in range(self.numbered.tuples().size()):
            sort.data.as_ints[i] = self.numbered.tuples()[i].sort
            argument.data.as_ints[i] = self.numbered.tuples()[i].argument
            result.data.as_ints[i] = self.numbered.tuples()[i].result
        return Operations(
            self.fs,
            values.values,
            sort,
            argument,
            result,
            column(values.kind),
            (column(values.first), column(values.second)),
            column(self.examples),
        )

    cdef dict parts(self, bint by_key, entries_class):
        """Key -> its entries."""
        cdef vector[int] begin, returns_begin
        cdef size_t key_count, k
        cdef object operations = self.operations()
        if not by_key and self.call.size():
            self.keys[None] = 0
        key_count = len(self.keys)
        begin.assign(key_count + 1, 0)
        returns_begin.assign(key_count + 1, 0)
        if key_count <= 1:
            self.only_part(begin, returns_begin)
        else:
            self.by_key(begin, returns_begin)
        cdef dict found = {}
        for key, number in self.keys.items():
            k = number
            found[key] = entries_class(
                self.ops,
                operations,
                slice_of(self.op, begin[k], begin[k + 1]),
                slice_of(self.call, begin[k], begin[k + 1]),
                slice_of(self.end, begin[k], begin[k + 1]),
                slice_of(self.closed, returns_begin[k], returns_begin[k + 1]),
                self.is_plain,
            )
        return found

    cdef void only_part(self, vector[int]& begin, vector[int]& returns_begin) except *:
        """The columns of one key, in place; begin and returns_begin: where each key's begin in op, call and end, and in closed."""
        cdef size_t i, size = 0, return_count = 0
        cdef vector[int]* place = &self.f  # Nobody reads it any more.
        for i in range(self.call.size()):
            place[0][i] = <int> size
            if self.op[i] < 0:
                continue
            self.op[size], self.call[size] = self.op[i], self.call[i]
            self.end[size] = -2 - self.end[i] if self.kind[i] == INFO else self.end[i]
            size += 1
        for i in range(self.closed.size()):
            if self.kind[self.closed[i]] == INFO or (self.kind[self.closed[i]] == FAIL and not self.refused):
                continue
            self.closed[return_count] = place[0][self.closed[i]]
            return_count += 1
        begin[begin.size() - 1] = <int> size
        returns_begin[begin.size() - 1] = <int> return_count

    cdef void by_key(self, vector[int]& begin, vector[int]& returns_begin) except *:
        """The columns in order of keys; begin and returns_begin as for `only_part`."""
        cdef vector[int] place, op, call, end, returns
        cdef size_t i, k, key_count = begin.size() - 1
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
        self.op.swap(op)
        self.call.swap(call)
        self.end.swap(end)
        self.closed.swap(returns)


def encode(ops, bint by_key, bint refused, bint nil_reads, entries_class, malformed, types, wildcard_fs):
    """As encode.encode_pure and encode.encode_columns; None where the ops are unusual and these must do it."""
    if type(ops) is not tuple and type(ops) is not OpColumns:
        return None
    cdef _Encoder encoder = _Encoder(ops, refused, nil_reads, types)
    try:
        if type(ops) is tuple:
            encoder.pair(by_key, malformed)
        else:
            encoder.pair_columns(by_key, malformed)
    except Unusual:
        return None
    encoder.number(wildcard_fs)
    return encoder.parts(by_key, entries_class)
