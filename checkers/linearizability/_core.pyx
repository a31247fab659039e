# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The native core: the searches of depth.py and forward.py over integer arrays, with the interpreter lock released.

Python is called only for a transition that the table does not have yet. problem.py, depth.py and forward.py are the
specification: same order, same counts, same answers.
"""

from array import array

from libc.stdint cimport int64_t
from libc.string cimport memcpy
from libcpp cimport bool as bool_t
from libcpp.vector cimport vector

from checkers.linearizability.outcome import Outcome
from checkers.linearizability.result import Configuration


cdef extern from "searches.hpp" namespace "themis" nogil:
    ctypedef int (*Fill)(void*, int, int, vector[int]&) noexcept

    const int kWidthMax

    cdef cppclass CTable "themis::Table":
        CTable(int, vector[char], vector[int], Fill, void*) except +
        void set(int, int, const vector[int]&) except +

    cdef cppclass CProblem "themis::Problem":
        CProblem(CTable&, int, const int*, const int*, const int*, int, const int*) except +
        int width
        int size
        vector[vector[int]] class_entries

    cdef cppclass Seen:
        int state
        vector[int] linearized
        vector[int] pending
        vector[int] used

    cdef cppclass COutcome "themis::Outcome":
        pass

    cdef cppclass Search:
        COutcome run(int64_t) except +
        vector[int] linearization() except +
        vector[Seen] sample() except +
        int64_t explored

    cdef cppclass DepthSearch(Search):
        int deepest
        bool_t forgot

    cdef cppclass ForwardSearch(Search):
        int reached
        int bound
        int restarts
        size_t widest
        bool_t is_refuted

    ctypedef int (*AskReach)(void*, int, int) noexcept

    cdef cppclass CGuide "themis::Guide":
        CGuide(const CProblem&, const vector[int]&, AskReach, void*) except +

    DepthSearch* make_depth(const CProblem&, size_t, CGuide*, int) except +
    ForwardSearch* make_forward(const CProblem&, size_t) except +


cdef list OUTCOMES = [Outcome.RUNNING, Outcome.FOUND, Outcome.EXHAUSTED, Outcome.GAVE_UP]


cdef int fill(void* context, int state, int op, vector[int]& following) noexcept with gil:
    """Ask the model; what it raises is kept for the caller of the search."""
    cdef Problem problem = <Problem> context
    try:
        for number in problem.table.step(state, op):
            following.push_back(number)
    except BaseException as error:
        problem.raised = error
        return 1
    return 0


cdef int ask_reach(void* context, int state, int op) noexcept with gil:
    """Ask the model whether the operation may become possible; what it raises is kept, as `fill` keeps it."""
    cdef Problem problem = <Problem> context
    try:
        return problem.table.ask_reach(state, op)
    except BaseException as error:
        problem.raised = error
        return -1


cdef class Problem:
    """One key's history in native form; both searches hold it."""

    cdef CTable* native_table
    cdef CProblem* native
    cdef readonly object table
    cdef object raised

    def __cinit__(self, entries, table, op):
        cdef vector[char] is_pure
        cdef vector[int] group
        self.table = table
        for flag in table.is_pure:
            is_pure.push_back(flag)
        for number in table.group:
            group.push_back(number)
        self.native_table = new CTable(len(table.operations), is_pure, group, fill, <void*> self)
        for state, number, after in table.known():
            self.native_table.set(state, number, after)
        cdef int[::1] op_column = op if len(op) else array("i", [0])
        cdef int[::1] call = entries.call if len(op) else array("i", [0])
        cdef int[::1] end = entries.end if len(op) else array("i", [0])
        cdef int[::1] returns = entries.returns if len(entries.returns) else array("i", [0])
        self.native = new CProblem(
            self.native_table[0], len(op), &op_column[0], &call[0], &end[0], len(entries.returns), &returns[0]
        )

    def __dealloc__(self):
        del self.native
        del self.native_table

    @property
    def width(self):
        """Slots of the kind that needs more."""
        return self.native.width

    @property
    def class_count(self):
        """Classes of crashed operations."""
        return self.native.class_entries.size()

    cdef configuration(self, const Seen& seen):
        cdef list crashed = []
        cdef size_t c
        cdef int i
        for c in range(seen.used.size()):
            for i in range(seen.used[c]):
                crashed.append(self.native.class_entries[c][i])
        return Configuration(
            self.table.states[seen.state],
            tuple(sorted(seen.linearized)),
            tuple(sorted(seen.pending)),
            tuple(sorted(crashed)),
        )


cdef class Guide:
    """Native twin of guide.Guide."""

    cdef CGuide* guide
    cdef Problem problem

    def __cinit__(self, Problem problem, landings):
        cdef vector[int] numbers = landings
        self.problem = problem
        self.guide = new CGuide(problem.native[0], numbers, ask_reach, <void*> problem)

    def __dealloc__(self):
        del self.guide


cdef class _Search:
    cdef Search* search
    cdef Problem problem

    def __dealloc__(self):
        del self.search

    def run(self, int64_t until):
        """As the pure twin's."""
        cdef COutcome outcome
        try:
            with nogil:
                outcome = self.search.run(until)
        except RuntimeError:
            if self.problem.raised is None:
                raise
            raise self.problem.raised
        return OUTCOMES[<int> outcome]

    def linearization(self):
        """Positions in the entries, after FOUND."""
        cdef vector[int] order = self.search.linearization()
        found = array("i", bytes(order.size() * sizeof(int)))
        cdef int[::1] view
        if order.size():
            view = found
            memcpy(&view[0], order.data(), order.size() * sizeof(int))
        return found

    def configurations(self):
        """What was possible just before the refutation, the first few."""
        cdef vector[Seen] sample = self.search.sample()
        cdef list found = []
        cdef size_t i
        for i in range(sample.size()):
            found.append(self.problem.configuration(sample[i]))
        return tuple(found)

    @property
    def explored(self):
        """Configurations generated."""
        return self.search.explored


cdef class Depth(_Search):
    """Native twin of depth.Depth."""

    cdef Guide guide

    def __cinit__(self, Problem problem, size_t memory_max, Guide guide=None, int goal=-1):
        cdef CGuide* native_guide = NULL
        if guide is not None:
            native_guide = guide.guide
        self.problem = problem
        self.guide = guide
        try:
            self.search = make_depth(problem.native[0], memory_max, native_guide, goal)
        except RuntimeError:
            if problem.raised is None:
                raise
            raise problem.raised

    @property
    def deepest(self):
        """The last return event that some path reached."""
        return (<DepthSearch*> self.search).deepest

    @property
    def forgot(self):
        """Whether the memory was full at least once."""
        return (<DepthSearch*> self.search).forgot


cdef class Forward(_Search):
    """Native twin of forward.Forward."""

    def __cinit__(self, Problem problem, size_t width_max):
        self.problem = problem
        try:
            self.search = make_forward(problem.native[0], width_max)
        except RuntimeError:
            if problem.raised is None:
                raise
            raise problem.raised

    def refute(self, int k):
        """Take for granted that return event k cannot be passed; before any `run`."""
        cdef ForwardSearch* search = <ForwardSearch*> self.search
        search.is_refuted = True
        search.bound = k

    @property
    def reached(self):
        """The return event at which this pass stands."""
        return (<ForwardSearch*> self.search).reached

    @property
    def bound(self):
        """The return event before which it stops."""
        return (<ForwardSearch*> self.search).bound

    @property
    def restarts(self):
        """Passes that were refined."""
        return (<ForwardSearch*> self.search).restarts

    @property
    def widest(self):
        """The most configurations kept after one event."""
        return (<ForwardSearch*> self.search).widest

    @property
    def is_refuted(self):
        """Whether some pass died."""
        return (<ForwardSearch*> self.search).is_refuted


WIDTH_MAX = kWidthMax
