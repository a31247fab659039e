"""The tests of each package notice the mistakes of harness/tests/mutation. Half an hour, by hand; that each mistake still follows
the code is looked at every time."""

from __future__ import annotations

import pytest

from harness.tests.mutation import table
from harness.tests.mutation.mutant import ROOT, Mutant, Workspace, mutated


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("mutation") / "copy")


def test_each_mutant_has_a_name_of_its_own_and_its_text_stands_in_the_source_once() -> None:
    assert len({mutant.name for mutant in table.ALL}) == len(table.ALL)
    for mutant in table.ALL:
        source = (ROOT / mutant.file).read_text()
        assert mutated(mutant, source) != source, mutant.name
        compile(mutated(mutant, source), mutant.file, "exec")


@pytest.mark.soak
@pytest.mark.parametrize("package", sorted({mutant.package for mutant in table.ALL}))
def test_without_a_mutant_the_tests_of_the_tables_pass(workspace: Workspace, package: str) -> None:
    files = {f"{package}/tests/{file}" for mutant in table.ALL if mutant.package == package for file in mutant.tests}
    assert workspace.first_failure(sorted(files)) is None


@pytest.mark.soak
@pytest.mark.parametrize("mutant", table.ALL, ids=lambda mutant: mutant.name)
def test_the_tests_of_its_package_kill(mutant: Mutant, workspace: Workspace) -> None:
    assert workspace.killer(mutant) is not None, mutant.why
