"""What an etcd node runs that lost its data: it has itself removed from the cluster and added again, and becomes etcd as a new
member.

A member that voted, lost its data and came back under its old identity could vote twice, so that acknowledged writes were lost.
So it is removed and added again, as etcd's guide has its operator do by hand
(https://etcd.io/docs/v3.4/op-guide/runtime-configuration/, "Replace a failed machine"). This needs nothing but the standard
library, since it runs on the node's machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ANSWERED_WITHIN_S = 2.0
TRIED_AGAIN_AFTER_S = 0.2


class NotYet(Exception):
    """The cluster did not do what it was asked."""


def ask(url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the member at this client URL. Raises NotYet."""
    request = urllib.request.Request(f"{url}/v3/cluster/member/{path}", json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=ANSWERED_WITHIN_S) as response:
            answer: dict[str, Any] = json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise NotYet(f"{url}: {path}: {error.read()[:300].decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise NotYet(f"{url}: {path}: {error}") from error
    return answer


def join(config: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any]:
    """The configuration with which this node starts as a new member. others: the client URLs of the other nodes.

    Whoever has this node's address is removed first: its data is gone, even where it never ran. Raises NotYet.
    """
    mine = config["initial-advertise-peer-urls"]
    names = {url: name for name, _, url in (each.partition("=") for each in config["initial-cluster"].split(","))}
    failures = []
    for url in others:
        try:
            for member in ask(url, "list", {}).get("members", ()):
                if mine in member["peerURLs"]:
                    ask(url, "remove", {"ID": member["ID"]})
            members = ask(url, "add", {"peerURLs": [mine]})["members"]
        except NotYet as error:
            failures.append(str(error))
            continue
        cluster = [f"{names.get(peer, member['ID'])}={peer}" for member in members for peer in member["peerURLs"]]
        return {**config, "initial-cluster": ",".join(sorted(cluster)), "initial-cluster-state": "existing"}
    raise NotYet("; ".join(failures) or "there is no other node")


def main(path: str, data_dir: str, *others: str) -> None:
    """Run etcd with the configuration at `path`, as a new member where its data is gone, and end as it ends.

    A new member asks the others for the cluster before it has a log, and ends where they do not answer, or have changed again
    meanwhile. It is then added anew.
    """
    if has_log(data_dir):
        os.execvp("etcd", ["etcd", "--config-file", path])
    config = json.loads(Path(path).read_text())
    joined_path = Path(path).with_name("joined.json")
    while True:
        joined = joined_at_last(config, others)
        sys.stderr.write(f"themis: a new member of {joined['initial-cluster']}\n")
        sys.stderr.flush()
        joined_path.write_text(json.dumps(joined))
        status = subprocess.call(["etcd", "--config-file", str(joined_path)])
        if has_log(data_dir):
            sys.exit(status)


def has_log(data_dir: str) -> bool:
    """Whether etcd has begun a log there; it makes the file whole, at one instant."""
    return any(Path(data_dir).glob("member/wal/*.wal"))


def joined_at_last(config: Mapping[str, Any], others: Sequence[str]) -> dict[str, Any]:
    """What `join` returns, once it can."""
    said = ""
    while True:
        try:
            return join(config, others)
        except NotYet as error:
            if str(error) != said:
                said = str(error)
                sys.stderr.write(f"themis: not a member yet: {said}\n")
                sys.stderr.flush()
            time.sleep(TRIED_AGAIN_AFTER_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
