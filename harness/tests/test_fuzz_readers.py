"""A short fuzz of every reader of files, always with the same inputs; `python -m harness.tests.fuzzing` is the long one."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from harness.tests.fuzzing.mutation import mutated
from harness.tests.fuzzing.readers import readers

READERS = readers()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.long
def test_a_reader_raises_nothing_that_it_does_not_document(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for seed in range(250):
        text = mutated(Random(f"{name}/{seed}"), reader.examples)
        try:
            reader.read(tmp_path, text)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text[:500]!r}") from error


@pytest.mark.parametrize("name", READERS)
def test_what_is_mutated_is_read(name: str, tmp_path: Path) -> None:
    for example in READERS[name].examples:
        READERS[name].read(tmp_path, example)
