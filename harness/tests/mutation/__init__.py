"""Mutation testing of the harness itself: mistakes made on purpose, each of which the tests of its own package must notice.

`mutant` says what a mutant is and runs tests on one; the other modules are tables of mutants. Raft's own are in tests/mutants.py.

    python -m harness.tests.mutation                 every mutant, a line for each
    python -m harness.tests.mutation merge-best ...  these
    python -m harness.tests.mutation --quick         only the test files that the tables name
"""
