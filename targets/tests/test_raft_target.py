"""What the harness is told of Raft: its options, primary, command line; and the small parts below the core."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from targets import registry
from targets.node_arguments import parse
from targets.raft.log import Log
from targets.raft.options import RaftOptions
from targets.raft.quorum import majority, reached_by_majority
from targets.raft.records import Append, HardState, Truncate
from targets.raft.target import BUGS, TARGET
from targets.target import CORE_PORT, Address, Place
from targets.tests.raft_node import entry

# --- the target ---------------------------------------------------------------------------------------------------------


def test_it_is_found_by_name_and_by_path() -> None:
    assert registry.find("raft") is TARGET
    assert registry.find("targets.raft.target:TARGET") is TARGET
    assert "raft" in registry.names()
    with pytest.raises(LookupError):
        registry.find("rafd")


def test_its_command_line_says_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMIS_SECRET", "0123456789abcdef")
    place = Place(
        node="n1",
        listen={CORE_PORT: Address("127.0.0.1", 1)},
        nodes={node: {CORE_PORT: Address("127.0.0.1", port)} for node, port in (("n1", 1), ("n2", 2))},
        config_dir="/config",
        data_dir="/data",
        log_dir="/log",
        python="python3",
        seed="7/n1",
    )
    options = RaftOptions(reads="log", pre_vote=False, election_ms_max=700)
    python, dash_m, module, *arguments = TARGET.argv(place, options, frozenset({"stale-read", "vote-twice"}), "kv")
    assert (python, dash_m, module) == ("python3", "-m", "targets.node")
    assert "0123456789abcdef" not in " ".join(arguments)
    settings = parse(arguments)
    assert settings.secret == "0123456789abcdef"
    assert "THEMIS_SECRET" not in os.environ, "whatever the node starts must not have it"
    assert settings.target is TARGET
    assert (settings.node, settings.listen, settings.peers) == (
        "n1",
        Address("127.0.0.1", 1),
        {"n2": Address("127.0.0.1", 2)},
    )
    assert settings.options == options
    assert settings.bugs == {"stale-read", "vote-twice"}
    assert settings.seed == "7/n1"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"reads": "fast"}, "reads"),
        ({"heartbeat_ms": 0}, "heartbeat_ms"),
        ({"election_ms_min": 50}, "election_ms_min"),
        ({"election_ms_max": 100}, "election_ms_max"),
        ({"entries_per_message_max": 0}, "entries_per_message_max"),
        ({"pipeline_messages_max": 0}, "pipeline_messages_max"),
        ({"voters": -1}, "voters"),
        ({"elections": 3}, "elections"),
    ],
)
def test_a_nonsense_option_is_refused_and_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=named):
        msgspec.convert(values, RaftOptions)


def test_claims_depend_on_how_reads_are_done() -> None:
    assert TARGET.claimed_model("kv", RaftOptions()) == "linearizable"
    assert TARGET.claimed_model("kv", RaftOptions(reads="log")) == "linearizable"
    assert TARGET.claimed_model("kv", RaftOptions(reads="local")) == "eventual"


def test_the_primary_leads_the_highest_term() -> None:
    leads, follows = {"role": "leader"}, {"role": "follower"}
    assert TARGET.primary({}) is None
    assert TARGET.primary({"n1": follows | {"term": 9}}) is None
    assert TARGET.primary({"n1": leads | {"term": 3}, "n2": leads | {"term": 4}, "n3": follows | {"term": 5}}) == "n2"


def test_nodes_with_the_same_commit_index_have_converged() -> None:
    def has_converged(indexes: dict[str, int], joining: Sequence[str] = (), leader: str = "n1") -> bool:
        """Of n1 to n3, which are members, and n4, which is none."""
        members = {"term": 2, "voters": ["n1", "n2", "n3"], "learners": [], "joining": joining}
        return TARGET.converged(
            {
                node: {"commit_index": index, "role": "leader" if node == leader else "follower", **members}
                for node, index in indexes.items()
            }
        )

    assert has_converged({"n1": 4, "n2": 4})
    assert not has_converged({"n1": 4, "n2": 5})
    assert not has_converged({"n1": 4, "n2": 5}, leader="")
    assert has_converged({"n1": 4, "n2": 4, "n4": 1})
    assert not has_converged({"n1": 4, "n2": 4}, joining=["n4"])


def test_unknown_bugs_and_interfaces_are_refused() -> None:
    with pytest.raises(
        ValueError, match="'heap'; there are bank, consensus, counter, kv, lock, priority-queue, queue, set, stack"
    ):
        TARGET.core("n1", ("n1",), RaftOptions(), frozenset(), random.Random(1), "heap")
    with pytest.raises(ValueError, match="stale-reed"):
        TARGET.core("n1", ("n1",), RaftOptions(), frozenset({"stale-reed"}), random.Random(1), "kv")


def test_every_bug_says_what_it_does_and_what_exposes_it() -> None:
    for name, bug in BUGS.items():
        assert bug.name == name
        assert bug.summary.endswith(".")
        assert bug.anomaly.endswith(".")
        assert bug.exposed_by


def test_bodies_and_records_survive_json() -> None:
    for record in (HardState(3, None), HardState(3, "n2"), Append(1, (entry(1), entry(2, 5))), Truncate(4)):
        assert msgspec.json.decode(msgspec.json.encode(record), type=TARGET.formats("kv").record) == record
    for route in TARGET.formats("kv").routes:
        for type_ in filter(None, (route.request, route.response)):
            with pytest.raises(msgspec.ValidationError, match=r"term|node_id"):
                msgspec.json.decode('{"term": -1}', type=type_)


# --- quorums and the log ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members_count", range(1, 10))
def test_two_majorities_share_a_member_and_no_smaller_groups_do(members_count: int) -> None:
    size = majority(members_count)
    assert 2 * size > members_count
    assert 2 * (size - 1) <= members_count


def test_what_a_majority_has_reached() -> None:
    rng = random.Random(1)
    for _ in range(300):
        marks = [rng.randint(0, 6) for _ in range(rng.randint(1, 7))]
        reached = reached_by_majority(marks)
        assert sum(mark >= reached for mark in marks) >= majority(len(marks))
        assert sum(mark > reached for mark in marks) < majority(len(marks))


def test_the_log_agrees_with_a_plain_list() -> None:
    rng = random.Random(2)
    log, plain, term = Log(), [entry(1)], 1
    log.append(plain)
    for value in range(500):
        match rng.randint(0, 3):
            case 0:
                from_index = rng.randint(1, len(plain) + 1)
                log.truncate(from_index)
                del plain[from_index - 1 :]
            case _:
                term += rng.randint(0, 1)
                entries = [entry(term, value)] * rng.randint(1, 3)
                log.append(entries)
                plain += entries
        terms = [0] + [e.term for e in plain]
        assert (log.last_index, log.last_term) == (len(plain), terms[-1])
        assert [log.term_at(index) for index in range(len(terms))] == terms
        assert log.entries_from(2, 3) == tuple(plain[1:4])
        assert log.count_present(1, plain) == len(plain)
        if plain:
            some = rng.choice(plain).term
            assert log.first_index_of_term(some) == terms.index(some)
            assert log.last_index_of_term(some) == len(terms) - 1 - terms[::-1].index(some)
            assert log.last_index_of_term(term + 1) == 0
            assert log.count_present(len(plain), [plain[-1], entry(term + 1)]) == 1
