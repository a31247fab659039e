"""The page that holds what was fuzzed, from which the rounds go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.tests.fuzzing import rounds
from harness.tests.fuzzing.rounds import Turns, main

EMPTY = f"# A page\n\n{rounds.BEGIN}\n\n{rounds.END}\n\nWhat else it says.\n"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    page = tmp_path / "fuzz.md"
    page.write_text(EMPTY)
    had = {
        "edn": Turns(600.0, 1_136_853, 1_061, 0.08),
        "route:kv": Turns(60.0, 4_321, 53, 20.5, found="route kv: seed 3 | raised"),
        "auto": Turns(),
    }
    rounds.write(page, had, 600)
    rounds.write(page, rounds.read(page), 600)
    told = page.read_text()
    assert rounds.read(page) == had | {"route:kv": Turns(60.0, 4_321, 53, 20.5, found="route kv: seed 3 / raised")}
    assert told.startswith("# A page\n")
    assert told.endswith("\n\nWhat else it says.\n")
    assert "1 of 3 had 600 CPU seconds; 1,141,174 inputs together." in told


@pytest.mark.long
def test_the_rounds_go_on_from_the_page_until_it_had_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "fuzz.md"
    page.write_text(EMPTY)
    monkeypatch.setattr(rounds, "names", lambda: ["edn", "verdict"])
    rounds.write(page, {"verdict": Turns(1, 7, 40, 0.0)}, 600)
    args = ["--page", str(page), "--only", "verdict", "--slice-s", "0.5", "--cpu-s", "2"]
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    had = rounds.read(page)
    assert had["verdict"].cpu_seconds == 2
    assert had["verdict"].inputs > 7
    assert had["edn"] == Turns()
