"""`themis bench-bugs`: what it counts, what it writes, and that the page around stays."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from harness.campaign import track_record_page
from harness.campaign.real_nodes import OnRealNodes, real_spec
from harness.campaign.strategy import StrategyName
from harness.campaign.track_record import Healthy, Hunt, Row, Shrinking, ratios
from harness.campaign.track_record_page import with_section
from harness.cli import run_command, themis
from harness.errors import USAGE
from harness.run import plan
from harness.zoo.registry import PLANTED, of_target
from harness.zoo.scenario import Planted

BOTH: tuple[StrategyName, ...] = ("random", "coverage")


def row(random: list[int | None], coverage: list[int | None], planted: Planted = PLANTED[0]) -> Row:
    """A row of hunts that took so many runs; None: that found nothing in 100."""
    hunts = [
        Hunt(name, count or 100, (count or 100) / 2, is_found=count is not None)
        for name, counts in zip(BOTH, (random, coverage), strict=True)
        for count in counts
    ]  # fmt: skip
    return Row(planted, 3, 20, (("kept-commits", 2), ("durability", 1)), tuple(hunts), Shrinking(4, 2, 3, 7.2))


def test_a_row_has_what_was_measured() -> None:
    text = track_record_page.row_text(row([1, 3, 8], [2, 2, None]), BOTH)
    assert "| 3 of 20 | kept-commits 2, durability 1 | 3 runs, 1.5 s | 2 runs, 1.0 s | 4 / 2 / 3, 7 s | - |" in text
    assert "| nothing found | 1 runs" in track_record_page.row_text(row([None, None, 1], [1, 1, 1]), BOTH)


def test_real_nodes_have_a_column() -> None:
    said = {
        "not in 5 runs": OnRealNodes(5, is_found=False),
        "run 2, lifted in 9 tries": OnRealNodes(2, is_found=True, lift_tries=9),
        "run 1, not lifted, fails in another way": OnRealNodes(1, is_found=True, other=True),
    }
    for words, real in said.items():
        assert f"| {words} |" in track_record_page.row_text(msgspec.structs.replace(row([1], [1]), real=real), BOTH)
    found = [msgspec.structs.replace(row([1], [1]), real=real) for real in said.values()]
    assert "Real nodes showed 2 bugs, of which 1 were lifted" in track_record_page.summary(found)[-1]


def test_every_scenario_runs_on_real_nodes_too() -> None:
    for planted in PLANTED:
        plan.prepare(real_spec(planted, 1))


def test_strategies_are_compared_on_bugs_that_random_runs_seldom_find() -> None:
    rows = [row([40, 20, 30], [10, 10, 10]), row([2, 2, 2], [1, 1, 1]), row([None, None, 9], [1, 1, 1])]
    assert ratios(rows) == [3.0]
    assert "Of the 1 bugs" in " ".join(track_record_page.summary(rows))


def test_a_section_takes_the_place_of_its_like_and_of_nothing_else() -> None:
    rows = [row([1], [1])]
    first = track_record_page.section("raft", rows, [Healthy(PLANTED[0].scenario, 0, 5)], BOTH, "themis bench-bugs")
    page = with_section("# The bug zoo\n\n## gossip\n\nrows\n", "raft", first)
    assert page == f"# The bug zoo\n\n## gossip\n\nrows\n\n{first}"
    assert with_section(page, "raft", first) == page
    between = f"# The bug zoo\n\n{first}\n## gossip\n\nrows\n"
    other = first.replace("1 runs", "2 runs")
    assert with_section(between, "raft", other) == f"# The bug zoo\n\n{other}\n## gossip\n\nrows\n"


@pytest.mark.long
def test_a_bug_is_hunted_counted_and_shrunk(tmp_path: Path) -> None:
    page = tmp_path / "zoo.md"
    page.write_text("# The zoo\n")
    options = ["--target", "paxos-single", "--bug", "learn-from-one", "--seeds", "1", "--hunts", "1", "--healthy", "0"]
    strategies = ["--strategy", "random", "--strategy", "coverage", "--jobs", "1", "--json", "--write", str(page)]
    done = CliRunner().invoke(themis, ["bench-bugs", *options, *strategies], standalone_mode=False)
    assert done.exception is None
    assert done.return_value == 0
    (measured,) = json.loads(done.stdout)["bugs"]
    assert measured["found"] == 1
    assert [hunt["is_found"] for hunt in measured["hunts"]] == [True, True]
    assert measured["shrinking"]["client_ops"] <= 3
    assert "| `learn-from-one` | single 1 | 1 of 1 | learned-was-chosen 1 |" in page.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "rafd"], "did you mean 'raft'"),
        (["--bug", "stale-reed"], "did you mean 'stale-read'"),
        (["--target", "paxos", "--bug", "stale-read"], "paxos has no bug called stale-read"),
    ],
)
def test_what_is_not_in_the_zoo_is_refused(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench-bugs", *options]) == USAGE
    assert said in capsys.readouterr().err


def test_no_bug_of_a_target_stands_twice() -> None:
    for target in {planted.target for planted in PLANTED}:
        bugs = [planted.bug for planted in of_target(target)]
        assert len(bugs) == len(set(bugs))
