"""What every environment offers the controller. An environment knows nodes, links, processes, clocks and disks; it never knows
a target by name, a workload or a checker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from checkers.verdict import Verdict
from harness.clients.driver import NemesisWorker
from harness.generators.interpreter import Interpreter
from nemesis.capabilities import Cluster, NodeId
from targets.target import Target
from targets.topology import PLAIN, Topology


class EnvironmentUnavailable(Exception):
    """This environment cannot run here; nothing was started. The message says what is missing and the command that mends it."""


class Deployment(msgspec.Struct, frozen=True):
    """What is to run, and where its files go.

    run_id: labels everything that the environment makes. directory: the run directory; node files go below nodes/<n>/.
    client_timeout_s: after which a call without an answer is `info`. env_options: typed by each environment. moves_clocks: a
    fault of the run needs clocks; else programs outside the project are started without what moves theirs. loses_unsynced: a
    fault of the run makes disks lose what was not synced, or some of it; else none is mounted that can. topology: the target's, for
    these nodes and options. interface: what the workload asks of the target. keeps_files: the run
    has a folder; else nothing is written below `directory`. is_gateway: nodes of a core pass on what people ask of them to the
    node that serves it (targets/gateway.py).
    """

    run_id: str
    directory: Path
    target: Target
    options: msgspec.Struct
    bugs: frozenset[str]
    nodes: tuple[NodeId, ...]
    seed: int
    client_timeout_s: float = 2.0
    env_options: Mapping[str, Any] = {}
    moves_clocks: bool = False
    loses_unsynced: bool = False
    topology: Topology = PLAIN
    interface: str = "kv"
    keeps_files: bool = True
    is_gateway: bool = False


class EnvironmentClass(Protocol):
    """What the registry gives for an environment's name: its class."""

    is_virtual: bool

    def __call__(self, deployment: Deployment, /) -> Environment: ...


class Environment(Protocol):
    """One run's environment: constructed with a Deployment, used once.

    Order of calls: check, up, drive, (statuses at any time between), collect, down. `down` is always called, also after a failed
    `up`, is idempotent, and leaves nothing behind.
    """

    name: str
    is_virtual: bool
    """Whether its time is virtual: nothing in it takes real time, and the same seed gives the same run. A fact of the class."""
    writes_segments: bool
    """Whether its nodes write their traces in segments, to nodes/<n>/ of the run's folder (harness.run.live_traces)."""
    cluster: Cluster

    def check(self) -> None:
        """Raises EnvironmentUnavailable before anything is started."""
        ...

    def up(self) -> None:
        """Start every node; returns when each answers its status route. Raises when one does not, with the end of its log."""
        ...

    def drive(self, interpreter: Interpreter, nemesis: NemesisWorker) -> None:
        """Run the interpreter to its end in this environment's time: start the invocations that `poll` gives, complete each
        exactly once. The home node of a process is `nodes[process % len(nodes)]`. A client session that breaks its contract
        raises SessionFailed (harness.clients.sessions)."""
        ...

    def statuses(self) -> Mapping[NodeId, Mapping[str, Any]]:
        """The status of each node that answers."""
        ...

    def findings(self) -> Mapping[str, Verdict]:
        """What the environment itself saw to be wrong, by checker name: nodes that ended unasked ("nodes"), violated
        invariants, a cluster that did not serve again ("liveness"). Called after `drive` and before `down`."""
        ...

    def collect(self) -> None:
        """Logs and traces are whole below directory/nodes/<n>/ (node.log, trace.jsonl). Called only where files are kept."""
        ...

    def down(self) -> None:
        """Remove everything that was started or made."""
        ...
