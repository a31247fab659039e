"""etcd's membership: who belongs to the cluster by its leader's list, and how a node that lost its data comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from targets.etcd import joining
from targets.etcd.joining import NotYet, join
from targets.etcd.members import BEHIND_ENTRIES, membership
from targets.etcd.target import TARGET, EtcdOptions
from targets.target import Address, Membership, Place, ReconfigurableProgram


def test_the_view_names_voters_learners_and_who_is_behind() -> None:
    members: list[dict[str, Any]] = [{"name": "n1"}, {"name": "n3"}, {"name": "n2", "isLearner": True}, {"name": "n4"}]
    statuses = {
        "n1": {"raftIndex": "1000", "raftAppliedIndex": "1000"},
        "n3": {"raftIndex": "1000", "raftAppliedIndex": str(1000 - BEHIND_ENTRIES - 1)},
    }
    assert membership("n1", members, statuses) == Membership("n1", ("n1", "n3", "n4"), ("n2",), True, ("n3", "n4"))


def test_a_member_that_has_never_run_has_no_name_and_makes_the_view_unsettled() -> None:
    view = membership("n1", [{"name": "n1"}, {"name": ""}], {"n1": {"raftIndex": "5"}})
    assert view.voters == ("n1",)
    assert not view.is_settled


class Cluster:
    """Answers as etcd's API does. members: ID -> peer URLs."""

    def __init__(self, members: Mapping[str, list[str]], failing: frozenset[str] = frozenset()) -> None:
        self.members = dict(members)
        self.failing = failing
        self.asked: list[tuple[str, str]] = []

    def ask(self, url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((url, path))
        if url in self.failing:
            raise NotYet(f"{url}: refused")
        if path == "remove":
            del self.members[body["ID"]]
        if path == "add":
            assert body["peerURLs"][0] not in [url for urls in self.members.values() for url in urls]
            self.members["new"] = list(body["peerURLs"])
        return {"members": [{"ID": name, "peerURLs": urls} for name, urls in self.members.items()]}


CONFIG = {
    "initial-advertise-peer-urls": "http://b:2",
    "initial-cluster": "n1=http://a:2,n2=http://b:2,n3=http://c:2",
    "initial-cluster-state": "new",
}


def test_a_node_that_lost_its_data_is_removed_before_it_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster({"1": ["http://a:2"], "2": ["http://b:2"]})
    monkeypatch.setattr(joining, "ask", cluster.ask)
    joined = join(CONFIG, ["http://a:1"])
    assert cluster.members == {"1": ["http://a:2"], "new": ["http://b:2"]}  # Not under its old identity.
    assert joined["initial-cluster-state"] == "existing"
    assert joined["initial-cluster"] == "n1=http://a:2,n2=http://b:2"  # n3 is no member, and must not be named.


def test_a_member_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster({"1": ["http://a:2"], "3": ["http://c:2"]}, frozenset({"http://a:1"}))
    monkeypatch.setattr(joining, "ask", cluster.ask)
    assert join(CONFIG, ["http://a:1", "http://c:1"])["initial-cluster"].count("=") == 3
    with pytest.raises(NotYet, match="http://a:1: refused"):
        join(CONFIG, ["http://a:1"])


ETCD = """#!/bin/bash
echo run >>"$RUNS"
[ $(wc -l <"$RUNS") = 1 ] && exit 1
mkdir -p "$DATA/member/wal"
touch "$DATA/member/wal/0.wal"
exit 3
"""


def test_a_new_member_that_ends_before_it_has_a_log_is_added_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = Cluster({"1": ["http://a:2"]})
    monkeypatch.setattr(joining, "ask", cluster.ask)
    (tmp_path / "etcd").write_text(ETCD)
    (tmp_path / "etcd").chmod(0o755)
    (tmp_path / "etcd.json").write_text(json.dumps(CONFIG))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    with pytest.raises(SystemExit) as ended:
        joining.main(str(tmp_path / "etcd.json"), str(tmp_path / "data"), "http://a:1")
    assert ended.value.code == 3  # With a log it ends as etcd does: an end that is a finding.
    assert [path for _, path in cluster.asked] == ["list", "add", "list", "remove", "add"]


def test_only_a_node_that_lost_its_data_joins() -> None:
    ports = {node: {"client": Address(node, 1), "peer": Address(node, 2)} for node in ("n1", "n2", "n3")}
    place = Place("n2", ports["n2"], ports, "/c", "/d", "/l", "python3", "seed")
    options = EtcdOptions()
    assert TARGET.argv(place, options, frozenset())[0] == "etcd"
    lost = Place("n2", ports["n2"], ports, "/c", "/d", "/l", "python3", "seed", is_rejoining=True)
    assert TARGET.argv(lost, options, frozenset())[2:] == (
        "targets.etcd.joining",
        "/c/etcd.json",
        "/d",
        "http://n1:1",
        "http://n3:1",
    )
    assert isinstance(TARGET, ReconfigurableProgram)
