"""The diagram of a window: one line for each entry, arrows between columns."""

from __future__ import annotations

import pytest

from harness.environments.sim.message_log import LogEntry
from harness.report.space_time import diagram

MS = 1_000_000
ENTRIES = [
    LogEntry(1 * MS, "timer", "n1", what="election"),
    LogEntry(1 * MS, "send", "n1", peer="n3", what="Vote", number=1),
    LogEntry(2 * MS, "persist", "n2", what="HardState", number=4),
    LogEntry(3 * MS, "deliver", "n3", peer="n1", what="Vote", number=1),
    LogEntry(4 * MS, "send", "n3", peer="n2", what="Reply", number=2),
    LogEntry(5 * MS, "drop", "n3", peer="n2", what="Reply", number=2, why="link is cut"),
    LogEntry(6 * MS, "crash", "n2", why="killed"),
    LogEntry(9 * MS, "start", "n2", what="3 records"),
]
NODES = ("n1", "n2", "n3")

EXPECTED = """\
                      n1                n2                n3
t timer  w write to disk  s synced  ^ start  X crash  > request  < reply  o sent  --x lost
    0.001000           t                 |                 |  timer election
    0.001000           o                 |                 |  #1 Vote to n3
    0.002000           |                 w                 |  persist HardState
    0.003000           o-------------- Vote -------------->|  #1 +2.00 ms
    0.004000           |                 |                 o  #2 Reply to n2
    0.005000           |                 |        x--------o  #2 +1.00 ms link is cut
    0.006000           |                 X                 |  crash killed
"""


def test_a_window_is_drawn() -> None:
    assert diagram(ENTRIES, NODES, 0, 8 * MS) == EXPECTED


def test_a_window_leaves_out_what_is_outside_it() -> None:
    drawn = diagram(ENTRIES, NODES, 6 * MS, 6 * MS).splitlines()
    assert len(drawn) == 3
    assert drawn[2].endswith("crash killed")


def test_a_message_that_was_sent_before_the_window_still_has_its_age() -> None:
    assert "#1 +2.00 ms" in diagram(ENTRIES, NODES, 3 * MS, 3 * MS)


def test_too_much_is_cut_at_the_beginning_and_says_so() -> None:
    drawn = diagram(ENTRIES, NODES, 0, 100 * MS, rows_max=2).splitlines()
    assert drawn[2] == "... 6 earlier entries are left out"
    assert drawn[-1].endswith("start 3 records")


def test_an_empty_window_says_so() -> None:
    assert "nothing happened" in diagram(ENTRIES, NODES, 20 * MS, 30 * MS)


NARROW = """\
                    n1             n2             n3
t timer  w write to disk  s synced  ^ start  X crash  > request  < reply  o sent
--x lost
    0.001000         |              o              |  #1 AppendEntriesR…st to n1
    0.003000         |<-------------o              |  #1 +2.00 ms
    0.004000         |              o              |  #2 Vote to n1
    0.005000         |<--- Vote ----o              |  #2 +1.00 ms
"""


def test_in_a_terminal_the_columns_become_narrow_and_then_the_notes_short() -> None:
    entries = [
        LogEntry(1 * MS, "send", "n2", peer="n1", what="AppendEntriesRequest", number=1),
        LogEntry(3 * MS, "deliver", "n1", peer="n2", what="AppendEntriesRequest", number=1),
        LogEntry(4 * MS, "send", "n2", peer="n1", what="Vote", number=2),
        LogEntry(5 * MS, "deliver", "n1", peer="n2", what="Vote", number=2),
    ]
    assert diagram(entries, NODES, 0, 8 * MS, width=80) == NARROW


@pytest.mark.parametrize("count", range(1, 14))
def test_no_line_of_a_diagram_is_longer_than_the_terminal(count: int) -> None:
    nodes = [f"n{number}" for number in range(1, count + 1)]
    last = nodes[-1]
    entries = [
        *(LogEntry(MS, "send", node, peer="n1", what="AppendEntriesRequest", number=7) for node in nodes),
        *(LogEntry(MS, "deliver", node, peer="n1", what="AppendEntriesRequest", number=7) for node in nodes[1:]),
        LogEntry(MS, "crash", last, why="killed by the nemesis, which meant it" * 9),
    ]
    drawn = diagram(entries, nodes, 0, MS, width=80).splitlines()
    assert max(map(len, drawn)) <= 80
    rows = drawn[3:]
    assert len(rows) == 2 * count, "each entry is one row"
    for row in rows:
        column = drawn[0].index(last) + (len(last) - 1) // 2
        assert set(row[column - 1 : column + 2]) & set("|o<>Xx-"), "and its last column is where the name is"


def test_the_long_numbers_of_real_messages_leave_room_for_what_they_are() -> None:
    asked, answered = 4_399_120_253_019, 4_507_998_747_623_516
    entries = [
        LogEntry(1_000_000, "send", "n1", "n2", "AppendEntries", asked),
        LogEntry(1_500_000, "deliver", "n2", "n1", "AppendEntries", asked),
        LogEntry(1_600_000, "send", "n2", "n1", "AppendEntriesReply", answered),
    ]
    text = diagram(entries, ("n1", "n2", "n3"), 0, 2_000_000, width=80)
    assert "#1 AppendEntries to n2" in text
    assert "#1 +0.50 ms" in text
    assert "#2 App" in text
