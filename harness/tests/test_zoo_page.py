"""The section of the zoo's page that a command writes: the rest of the page stays."""

from __future__ import annotations

from harness.bench import zoo
from harness.bench.zoo import Row
from harness.zoo.raft import PLAIN

ROWS = [Row("no-fsync", "standard", 1, 3, 3, (0.1, 0.4), (("kept-commits", 2), ("durability", 1)))]
SECTION = zoo.section(ROWS, [(PLAIN, 0, 5)], "--seeds 3")


def test_a_row_has_what_was_measured() -> None:
    assert "| `no-fsync` | standard 1 | 3 of 3 | 0.2 | 0.4 | kept-commits 2, durability 1 |" in SECTION
    assert f"| standard | 5 | 0 | {PLAIN.why} |" in SECTION


def test_the_section_takes_the_place_of_its_like_and_of_nothing_else() -> None:
    first = zoo.with_section("# The bug zoo\n\n## gossip\n\nrows\n", SECTION)
    assert first == f"# The bug zoo\n\n## gossip\n\nrows\n\n{SECTION}"
    assert zoo.with_section(first, SECTION) == first
    between = f"# The bug zoo\n\n{SECTION}\n## gossip\n\nrows\n"
    other = SECTION.replace("0.2", "0.3")
    assert zoo.with_section(between, other) == f"# The bug zoo\n\n{other}\n## gossip\n\nrows\n"
