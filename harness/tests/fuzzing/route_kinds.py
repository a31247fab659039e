"""The kinds of routes under fuzz: of which node, and the whole requests that are mutated, each of which the node takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from targets import machine_registry, registry, secret
from targets.gossip import messages as gossip
from targets.gossip.contexts import Context
from targets.gossip.crdts import Appended, Counter, LastWriter, ObservedRemove, Tombstone
from targets.gossip.quorum_messages import Get, Put
from targets.paxos.multi import messages as multi
from targets.paxos.multi.entries import Entry as Slot
from targets.paxos.single import messages as single
from targets.raft.log import Entry
from targets.raft.messages import AppendEntries, InstallSnapshot, Join, PreVote, RequestVote, TimeoutNow
from targets.target import CoreTarget
from targets.twopc import messages as commit
from targets.twopc.records import Prepared
from targets.twopc.replicated_log import Keep
from targets.twopc.transactions import Step
from targets.wire import encode

SECRET = "the-secret-under-fuzz"
COMMANDS: Mapping[str, Sequence[bytes]] = {
    "kv": (
        b'{"f":"write","key":"a","value":[1,{"b":[2.5,null]}]}',
        b'{"f":"read","key":"a"}',
        b'{"f":"cas","key":1,"value":[[1],{"b":2}]}',
        b'{"f":"append","key":"a","value":"x"}',
        b'{"f":"txn","value":[["r","a",null],["append","b",3],["w",null,{}]]}',
    ),
    "counter": (b'{"f":"add","key":"a","value":3}', b'{"f":"read","key":"a"}'),
    "set": (b'{"f":"add","key":"a","value":3}', b'{"f":"read","key":"a"}'),
    "queue": (b'{"f":"enqueue","key":"a","value":3}', b'{"f":"dequeue","key":"a"}'),
    "stack": (
        b'{"f":"push","key":"a","value":"x"}',
        b'{"f":"pop","key":"a"}',
        b'{"f":"peek","key":"a"}',
    ),
    "priority-queue": (
        b'{"f":"enqueue","key":"a","value":[3,"x"]}',
        b'{"f":"enqueue","key":"a","value":[-15,1]}',
        b'{"f":"dequeue","key":"a"}',
        b'{"f":"peek","key":"a"}',
    ),
    "lock": (b'{"f":"acquire","key":"a","value":"me"}', b'{"f":"release","key":"a","value":"me"}'),
    "bank": (
        b'{"f":"open","value":{"0":5,"b":7}}',
        b'{"f":"transfer","value":{"from":0,"to":"b","amount":3}}',
        b'{"f":"read"}',
    ),
    "consensus": (b'{"f":"propose","key":"a","value":[1,"x"]}', b'{"f":"learn","key":"a"}'),
}
"""Interface -> requests of its client route."""

GOSSIP_COMMANDS: Mapping[str, Sequence[bytes]] = {
    "kv": (
        b'{"f":"write","key":"a","value":[1,{"b":[2.5,null]}]}',
        b'{"f":"read","key":"a","context":{"vector":{"n1":0},"dots":[]},"via":"n1","latest":5}',
        b'{"f":"append","key":7,"value":"x","context":{"dots":[]},"latest":1}',
        b'{"f":"delete","key":"a"}',
    ),
    "counter": (b'{"f":"add","key":"a","value":-3}', b'{"f":"read","key":"a"}'),
    "set": (
        b'{"f":"add","key":"a","value":"x"}',
        b'{"f":"remove","key":"a","value":"x"}',
        b'{"f":"contains","key":"a","value":3}',
        b'{"f":"read","key":"a"}',
    ),
    "ids": (b'{"f":"generate"}', b'{"f":"generate","context":{"dots":[]},"via":"n1","latest":5}'),
}


class Kind(msgspec.Struct, frozen=True):
    """Some routes of one node. peers: how many others its cluster has, all silent; one that has
    none is its own quorum."""

    target: str
    interface: str
    examples: Sequence[bytes]
    peers: int = 0
    options: Mapping[str, Any] = {}
    node: str = "n1"


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: n1", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def kinds() -> Mapping[str, Kind]:
    """Every kind by name."""
    shown = f"{secret.HEADER}: {SECRET}"
    clocks = (("/clock", b'{"offset_ns":5,"rate":1.5}'), ("/clock", b"{}"), ("/epoch", b'{"epoch_ns":1}'))
    statuses = (
        request("GET", "/status"),
        request("GET", "/status?x=1", b"", "Connection: close", "Expect: 100-continue"),
    )
    curl = (request("POST", "/paxos/propose", b'{"value":{"a":[1.5,null]}}'), request("GET", "/paxos/learn"))
    proposals = (*_commands("consensus", COMMANDS["consensus"]), *curl)
    members = (
        request("POST", "/raft/members", b'{"add":"n1"}'),
        request("POST", "/raft/members", b'{"remove":"n9"}'),
        request("POST", "/raft/members", b'{"add_learner":"n9"}'),
        request("POST", "/raft/leader", b'{"node":"n1"}'),
    )
    steps = (request("POST", "/2pc/transaction", b'{"steps":[["r","a",null],["append",7,[1.5,null]],["w","b",{}]]}'),)
    return {
        "gossip-peers": Kind("gossip", "kv", _posts(_GOSSIP), peers=2),
        "gossip-quorum-peers": Kind("gossip", "kv", _posts((*_GOSSIP, *_QUORUM)), peers=2, options={"mode": "quorum"}),
        "gossip-quorum": Kind("gossip", "kv", _commands("kv", GOSSIP_COMMANDS["kv"]), options=_ALONE),
        "paxos-peers": Kind("paxos", "kv", _posts(_multi()), peers=2),
        "paxos-single-peers": Kind("paxos-single", "consensus", _posts(_SINGLE), peers=2),
        **{f"gossip-{f}": Kind("gossip", f, _commands(f, texts)) for f, texts in GOSSIP_COMMANDS.items()},
        "paxos-kv": Kind("paxos", "kv", _commands("kv", COMMANDS["kv"])),
        "paxos-consensus": Kind("paxos", "consensus", proposals),
        "paxos-single": Kind("paxos-single", "consensus", proposals),
        "raft-members": Kind("raft", "kv", members),
        "peers": Kind("raft", "kv", _posts(_raft(_write())), peers=2),
        "2pc-coordinator": Kind("2pc", "kv", _posts(_TO_COORDINATOR), peers=2),
        "2pc-participant": Kind("2pc", "kv", _posts(_TO_PARTICIPANT), 2, {"coordinators": 2}, "n3"),
        "2pc-group": Kind(
            "2pc", "kv", _posts((*_raft(Keep(record=_PREPARED)), *_TO_PARTICIPANT)), 5, {"shard_replicas": 3}
        ),
        "2pc-kv": Kind("2pc", "kv", (*_commands("kv", COMMANDS["kv"]), *steps)),
        "2pc-bank": Kind("2pc", "bank", _commands("bank", COMMANDS["bank"])),
        "control": Kind("raft", "kv", [request("POST", path, body, shown) for path, body in clocks]),
        "status": Kind("raft", "kv", statuses),
        **{interface: Kind("raft", interface, _commands(interface, texts)) for interface, texts in COMMANDS.items()},
    }


def _commands(interface: str, texts: Sequence[bytes]) -> Sequence[bytes]:
    return [request("POST", f"/{interface}", body, f"Themis-Op: {n}") for n, body in enumerate(texts)]


Message = tuple[str, msgspec.Struct]
"""Where a peer posts it, and what."""


def _posts(messages: Sequence[Message]) -> Sequence[bytes]:
    shown = f"{secret.HEADER}: {SECRET}"
    return [request("POST", path, encode(message), "Themis-Node: n2", shown) for path, message in messages]


def _write() -> msgspec.Struct:
    command: msgspec.Struct = msgspec.json.decode(COMMANDS["kv"][0], type=machine_registry.find("kv").command_type)
    return command


def _raft(command: msgspec.Struct) -> Sequence[Message]:
    return (
        ("/raft/append_entries", AppendEntries(1, "n2", 0, 0, (Entry(1, command), Entry(1, None)), 1, 1)),
        ("/raft/append_entries", AppendEntries(3, "n2", 1, 1, (Entry(3, command),), 2, 2)),
        ("/raft/request_vote", RequestVote(2, "n2", 9, 1)),
        ("/raft/pre_vote", PreVote(2, "n2", 9, 1)),
        ("/raft/join", Join("n2", 7)),
        ("/raft/install_snapshot", InstallSnapshot(4, "n2", 9, 3, 7, 0, '{"a":[1,', done=False, sequence=3)),
        ("/raft/install_snapshot", InstallSnapshot(4, "n2", 9, 3, 7, 8, '"x"]}', done=True, sequence=4)),
        ("/raft/timeout_now", TimeoutNow(1, "n2")),
    )


def _multi() -> Sequence[Message]:
    ballot = (1, "n2")
    entries: tuple[Slot[msgspec.Struct], ...] = (Slot(ballot, _write()), Slot(ballot))
    return (
        ("/paxos/poll", multi.Poll("n2", 1)),
        ("/paxos/prepare", multi.Prepare(ballot, "n2", 1)),
        ("/paxos/accept", multi.Accept(ballot, "n2", 1, entries, 0, 1)),
        ("/paxos/accept", multi.Accept((2, "n2"), "n2", 3, entries, 2, 2)),
        ("/paxos/learn", multi.Learn("n2", 1)),
        ("/paxos/learn", multi.Learn("n2", 1, snapshot_index=4, offset=10)),
    )


_SINGLE: Sequence[Message] = (
    ("/paxos/prepare", single.Prepare("a", (1, "n2"), "n2")),
    ("/paxos/accept", single.Accept("a", (1, "n2"), [1, {"b": "x"}], "n2")),
    ("/paxos/prepare", single.Prepare(None, (2, "n2"), "n2")),
    ("/paxos/learn", single.Chosen("b", [1.5, "y"], "n2")),
)

_HAS = Context({"n2": 5, "n3": 2}, (("n2", 7),))
_STATES = (
    gossip.KeyState("r", LastWriter({"a": [1]}, (7, "n2"), ("n2", 1))),
    gossip.KeyState(1, Counter((("n2", 3),), (("n3", 1),))),
    gossip.KeyState("s", ObservedRemove(((("n2", 4), "x"),), (Tombstone(("n2", 2), ("n3", 2)),))),
    gossip.KeyState("l", Appended((((8, "n2"), ("n2", 5), "y"),))),
)
_GOSSIP: Sequence[Message] = (
    ("/gossip/exchange", gossip.Summary("n2", False, (1,) * 16, _HAS, {"n2": 4, "n3": 1}, 9)),
    ("/gossip/exchange", gossip.Summary("n2", True, (0,) * 16, Context(), {}, 0)),
    *(
        ("/gossip/rumor", gossip.Rumor("n2", ("n2", 7 + number), each.key, each.state, _HAS, 9))
        for number, each in enumerate(_STATES)
    ),
)
"""A difference (gossip.Difference) comes only as the answer to a summary that this node sent."""

_ALONE = {"mode": "quorum", "replicas": 1, "read_quorum": 1, "write_quorum": 1}
_QUORUM: Sequence[Message] = (
    *(
        ("/gossip/put", Put("n2", (1, number), each.key, each.state, "n3" if number % 2 else "", 9))
        for number, each in enumerate(_STATES, 1)
    ),
    ("/gossip/get", Get("n2", (1, 7), "r")),
)


_OF_N1, _OF_N2 = (7, "n1"), (3, "n2")
_TO_COORDINATOR: Sequence[Message] = (
    ("/2pc/vote", commit.Vote(_OF_N1, True, 4, ([1, "x"], None))),
    ("/2pc/vote", commit.Vote(_OF_N1, False, 4, reason="lock")),
    ("/2pc/pre_committed", commit.PreCommitted(_OF_N1)),
    ("/2pc/acknowledge", commit.Acknowledge(_OF_N1, 9)),
    ("/2pc/status", commit.Inquire(_OF_N1)),
)
_STEPS: tuple[Step, ...] = (("r", "a", None), ("append", "b", [1.5]), ("w", 7, {"c": "x"}), ("cas", "d", [1, 2]))
_TO_PARTICIPANT: Sequence[Message] = (
    ("/2pc/prepare", commit.Prepare(_OF_N2, _STEPS, ("n1", "n3"), 5, 2)),
    ("/2pc/prepare", commit.Prepare((4, "n2"), (("debit", "a", 3), ("scan", None, None)), ("n1",), 6, 3)),
    ("/2pc/pre_commit", commit.PreCommit(_OF_N2, 8)),
    ("/2pc/status", commit.Inquire(_OF_N2)),
    ("/2pc/standing", commit.Standing(_OF_N2, "committed", 9)),
    ("/2pc/commit", commit.Commit(_OF_N2, 9)),
    ("/2pc/abort", commit.Abort((4, "n2"))),
)
_PREPARED = Prepared(_OF_N2, ("n1", "n3"), (("a", 1), ("b", [2])), ("c",), (None, "x"), 5)


def unfuzzed() -> set[tuple[str, str]]:
    """(target, path) of every peers' and clients' route of a built-in target that no example asks for."""
    asked = {(kind.target, text.split(b" ", 2)[1].decode()) for kind in kinds().values() for text in kind.examples}
    known = set()
    for name in registry.BUILT_IN:
        target = registry.find(name)
        if not isinstance(target, CoreTarget):
            continue  # A program has routes of its own.
        for interface in target.interfaces:
            formats = target.formats(interface)
            known |= {(name, path) for path in (*(r.path for r in formats.routes), *(c.path for c in formats.clients))}
    return known - asked
