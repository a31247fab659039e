"""The demo passes only when the healthy cluster is VALID and the bug is found, and gives a slow machine more tries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import demo
from harness.errors import INVALID, UNKNOWN, VALID


@pytest.mark.parametrize(
    ("healthy", "buggy", "code", "runs"),
    [
        ([VALID], [INVALID], 0, 2),
        ([UNKNOWN, VALID], [INVALID], 0, 3),
        ([UNKNOWN, UNKNOWN, UNKNOWN], [INVALID], 1, 4),
        ([INVALID], [INVALID], 1, 2),
        ([VALID], [VALID, INVALID], 0, 3),
        ([VALID], [VALID, UNKNOWN, VALID], 1, 4),
    ],
)
def test_it_ends_well_when_both_clusters_did_as_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, healthy: list[int], buggy: list[int], code: int, runs: int
) -> None:
    codes, ran = [*healthy, *buggy], []

    def run_command(arguments: Sequence[str]) -> int:
        if arguments[0] != "test":
            return 1
        ran.append(arguments)
        return codes[len(ran) - 1]

    monkeypatch.setattr(demo, "run_command", run_command)
    assert CliRunner().invoke(demo.demo, ["--store", str(tmp_path)]).exit_code == code
    assert len(ran) == runs
