"""What a system under test tells the harness about itself: how to start it, how to talk to it, what it claims to survive.

Environments know only these types, never a target by name. `CoreTarget` is for systems written against targets.core, which can
also run in the simulation; `Program` is for systems outside the project, which are started by a command line. `System` is what
the two have in common, and `Target` is either.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import msgspec

from targets.core import Core, NodeId, Record
from targets.declared import NOT_EMPTY, PATTERN
from targets.session import Call, Outcome, Session
from targets.topology import PLAIN, Topology


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Ports = Mapping[str, Address]
"""A node's ports by name, and the address of each."""

CORE_PORT = "http"
"""The one port of a node of a CoreTarget."""


class Place(msgspec.Struct, frozen=True):
    """One node's addresses and folders: all that its command line and its configuration files may depend on.

    listen: the address that it binds for each of its ports. nodes: every node, this one too, with the address under which the nodes
    dial each of its ports. Wherever the program names a member (its own advertised address included), it must be given the address
    from `nodes`: faults of the network act on connections to these addresses. config_dir: holds its `files`. data_dir: its own
    empty or recovered directory. python: the interpreter to use there. seed: for the node's own rng. is_wiped: its data was wiped
    since it ran last. is_rejoining: its data was wiped at any time, so that it must come back as a new member.
    """

    node: NodeId
    listen: Ports
    nodes: Mapping[NodeId, Ports]
    config_dir: str
    data_dir: str
    log_dir: str
    python: str
    seed: str
    is_wiped: bool = False
    is_rejoining: bool = False

    @property
    def advertised(self) -> Ports:
        """The addresses under which the other nodes dial this one."""
        return self.nodes[self.node]

    @property
    def peers(self) -> dict[NodeId, Ports]:
        """The other nodes, sorted, and the addresses where this node dials them."""
        return {node: ports for node, ports in sorted(self.nodes.items()) if node != self.node}


class Bug(msgspec.Struct, frozen=True):
    """A planted bug: off by default, chosen by `--bug NAME`.

    summary: what the target does wrong, one sentence. anomaly: what a checker must then find. exposed_by: faults that make it show.
    """

    name: str
    summary: str
    anomaly: str
    exposed_by: tuple[str, ...] = ()


class FaultModel(msgspec.Struct, frozen=True):
    """What the target claims to survive; schedules stay inside it unless `--beyond-model`.

    survives: fault names of the command line ("partition", "kill", "disk/lose-unsynced", ...).
    down_nodes_max: nodes that may be dead or paused at once while it must still be *safe*, as a share of all (1.0: any).
    """

    survives: frozenset[str]
    down_nodes_max: float = 1.0


class Route(msgspec.Struct, frozen=True):
    """POST `path` carries `request`; its HTTP response carries `response` (None: a one-way message, answered 204).

    sender: the field of `request` that names the node that sends it; "" where none does. A node refuses a message that names
    another node than the one that sent it.
    A core answers a `request` message by a Send of a `response` message to its source in the same step, or not at all.
    """

    path: str
    request: Any
    response: Any = None
    sender: str = ""


class ClientRoute(msgspec.Struct, frozen=True):
    """A further way for clients to ask, for people with curl: `method` `path`.

    body: the type of the body of a POST; None for a GET, which has none. request: makes the core's request of the body (None for a
    GET). answer: makes the JSON-like answer of the core's request and reply.
    """

    method: Literal["GET", "POST"]
    path: str
    body: Any
    request: Callable[[Any], msgspec.Struct]
    answer: Callable[[Any, Any], Any]


class Formats(msgspec.Struct, frozen=True):
    """The types of what a node reads and writes; the node refuses data that does not fit its type before the core sees it.

    request, reply: bodies of the client route, POST /<interface>. record: the union of durable records, for decoding the
    write-ahead log. routes: the peer RPCs. clients: further routes for clients. A type may be a
    union of tagged Structs, or a generic Struct with its parameters.
    """

    request: Any
    reply: Any
    record: Any
    routes: tuple[Route, ...] = ()
    clients: tuple[ClientRoute, ...] = ()

    @property
    def commands(self) -> frozenset[str] | None:
        """The ops (their `f`) that its requests can ask for: tags, or the literals of a field `f`. None where the type of the
        requests does not say."""
        return _commands_of(self.request)


NO_OPS = frozenset({"take-backup"})
"""What the harness asks for, and no workload."""


@cache
def _commands_of(request: Any) -> frozenset[str] | None:
    found: set[str] = set()
    asked = msgspec.inspect.type_info(request)
    for each in asked.types if isinstance(asked, msgspec.inspect.UnionType) else (asked,):
        if not isinstance(each, msgspec.inspect.StructType):
            return None
        if each.tag_field == "f":
            found.add(str(each.tag))
        for field in each.fields:
            if field.encode_name == "f":
                if not isinstance(field.type, msgspec.inspect.LiteralType):
                    return None
                found |= {str(value) for value in field.type.values}
    return frozenset(found) - NO_OPS or None


class System(Protocol):
    """What every target says about itself. `SystemDefaults` has the members that most targets need not write."""

    name: Annotated[str, NOT_EMPTY]
    summary: str
    option_type: type[msgspec.Struct]
    """Typed options with defaults; a misspelt or ill-typed one is refused."""
    bugs: Mapping[str, Bug]
    """May be empty."""
    fault_model: FaultModel
    invariants: Sequence[str]
    """The rules of checkers.invariants that its traces must obey, by name, or a user's own as module:Name. A target that names
    none gets no verdict on invariants."""
    modes: Sequence[Mapping[str, Any]]
    """Options of each mode that `themis compare` sets beside the others; empty: the values of its option `mode` or `reads`."""

    @property
    def interfaces(self) -> Annotated[frozenset[str], NOT_EMPTY]:
        """What workloads may ask of it: "kv", "counter", ... Each is the name of a machine, which defines the operations
        (targets/machines)."""
        ...

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """What it claims to survive under these options."""
        ...

    def invariants_under(self, options: msgspec.Struct) -> Sequence[str]:
        """The rules that its traces must obey under these options. Where its topology has shards, rules about logs and terms are
        watched shard by shard."""
        ...

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Options that are worth drawing anew for each run of many (harness.campaign.swarm), all within the fault model."""
        ...

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """Which node plays which role and holds which shard; `PLAIN` where all are alike.

        Raises ValueError, which names the option, for options that do not fit the cluster. The run is then refused.
        """
        ...

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """Whether the nodes of a healed, idle cluster agree, according to their statuses."""
        ...

    def settling_s(self, options: msgspec.Struct) -> float:
        """How long a healed, idle cluster may take to agree under these options, in seconds. Final reads wait for that, where the
        run's quiet period is not longer."""
        ...

    def claimed_model(self, interface: str, options: msgspec.Struct) -> str:
        """The consistency model claimed under these options: "linearizable", "sequential", "eventual"..."""
        ...

    def transaction_model(self, options: msgspec.Struct) -> str | None:
        """The model claimed for transactions over several keys; None: that of `claimed_model`, for `linearizable` of a whole store
        makes its transactions strictly serializable."""
        ...

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """Which node leads, according to the statuses of the nodes that answered; None when none claims to."""
        ...


class SystemDefaults:
    """Defaults for the members of a target. Inherit from it, and write only what differs."""

    invariants: Sequence[str] = ()
    modes: Sequence[Mapping[str, Any]] = ()
    durable_before_send: frozenset[str] = frozenset()
    fault_model: FaultModel

    def fault_model_under(self, options: msgspec.Struct) -> FaultModel:
        """Its fault model, whatever the options are."""
        return self.fault_model

    def transaction_model(self, options: msgspec.Struct) -> str | None:
        """The one of single operations."""
        return None

    def invariants_under(self, options: msgspec.Struct) -> Sequence[str]:
        """The same, whatever the options are."""
        return self.invariants

    def swarm_options(self, rng: random.Random) -> Mapping[str, Any]:
        """Always the defaults."""
        return {}

    def topology(self, nodes: Sequence[NodeId], options: msgspec.Struct) -> Topology:
        """All nodes are alike."""
        return PLAIN

    def converged(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> bool:
        """Always true: such a target does not say what its nodes have to agree on."""
        return True

    def settling_s(self, options: msgspec.Struct) -> float:
        """Nothing beyond the run's quiet period."""
        return 0.0


@runtime_checkable
class CoreTarget(System, Protocol):
    """A target written as a core: runs in every environment, the simulation included."""

    durable_before_send: frozenset[str]
    """Kinds of trace that tell what must be on disk before the node sends its next message, such as "vote": the simulation
    then traces that the others may know it."""

    def core(
        self,
        node: NodeId,
        members: Sequence[NodeId],
        options: msgspec.Struct,
        bugs: frozenset[str],
        rng: random.Random,
        interface: str,
    ) -> Core:
        """A fresh core that has not yet seen `Started`, and serves `interface`, one of `interfaces`.

        Raises ValueError, which names the option, for options that do not fit the cluster. The run is then refused.
        """
        ...

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str], interface: str) -> Sequence[str]:
        """The command line that starts this node as a foreground process, on the node's machine: the result of
        targets.command.node_argv for the name or module:NAME by which the node finds this target."""
        ...

    def formats(self, interface: str) -> Formats:
        """The types of all that a node sends, receives and stores while it serves `interface`."""
        ...

    def session(self, interface: str, process: int, topology: Topology) -> Session:
        """A fresh session for this client process."""
        ...


class Membership(msgspec.Struct, frozen=True):
    """Who belongs to the cluster, as its leader sees it.

    is_settled: no change is under way. behind: the members that do not answer, or lack much of what is committed,
        or whose node lost its data and has not been taken in again.
    """

    leader: NodeId
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    is_settled: bool
    behind: tuple[NodeId, ...]


class ChangeOutcome(msgspec.Struct, frozen=True):
    """How a request for a change ended. why: where it was not done. leader: whom to ask instead, where the node knows it."""

    is_done: bool
    why: str
    leader: NodeId | None = None


class Client(msgspec.Struct, frozen=True):
    """What a session may depend on. nodes: all of the cluster, the process's home node first. options: the nodes'."""

    process: int
    nodes: tuple[NodeId, ...]
    topology: Topology
    options: msgspec.Struct


@runtime_checkable
class InformedSessions(Protocol):
    """A CoreTarget whose sessions depend on the options, or ask nodes by name. Such a target is not asked for its `session`."""

    def session_of(self, interface: str, client: Client) -> Session:
        """A fresh session for this client."""
        ...


def session_for(target: CoreTarget, interface: str, client: Client) -> Session:
    """A fresh session of the target for this client."""
    if isinstance(target, InformedSessions):
        return target.session_of(interface, client)
    return target.session(interface, client.process, client.topology)


def nodes_from_home(nodes: Sequence[NodeId], process: int) -> tuple[NodeId, ...]:
    """The nodes in their order, from the home node of this process on, around to the one before it."""
    at = process % len(nodes)
    return (*nodes[at:], *nodes[:at])


def latest_leader(
    statuses: Mapping[NodeId, Mapping[str, Any]], *, role: str = "leader", term: str = "term"
) -> NodeId | None:
    """The node of the highest term among those whose status says that they lead; one that is cut off may still say so. term: the
    field of a status that grows from one leader to the next."""
    leaders = [(status[term], node) for node, status in statuses.items() if status["role"] == role]
    return max(leaders)[1] if leaders else None


@runtime_checkable
class Reconfigurable(Protocol):
    """A CoreTarget whose members can be changed while it runs, one after another. Faults of the family `membership` need it. A node
    whose `Started` says that it is rejoining comes back as a new member, and gets its vote when it has caught up."""

    def membership(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Membership | None:
        """Who belongs to the cluster, by these statuses; None when nobody leads."""
        ...

    def change(self, name: str, node: NodeId) -> msgspec.Struct:
        """The client's request for the change "add-node", "add-learner", "remove-node" or "transfer-leadership". Raises ValueError
        for another name."""
        ...

    def outcome(self, reply: msgspec.Struct) -> ChangeOutcome:
        """What the reply to such a request says."""
        ...


@runtime_checkable
class ReconfigurableProgram(Protocol):
    """A Program whose members can be changed while it runs. Faults of the families `membership` and `transfer` need it.

    A node whose place says `is_rejoining` has lost its data, and comes back as a new member: what `argv` starts sees to it. The
    process of a member that was removed may end by itself.
    """

    async def members(self, nodes: Mapping[NodeId, Ports]) -> Membership | None:
        """Who belongs to the cluster, asked of the nodes at these addresses, which all run; None when nobody leads. Cancelled after
        a time-out. Raises OSError, EOFError or ValueError as `status` does."""
        ...

    async def change_members(self, name: str, node: NodeId, leader: Ports) -> ChangeOutcome:
        """Have the leader do this: "remove-node": the node is no member any more; "transfer-leadership": it leads. Says why where
        that was not done. Raises OSError where nobody knows."""
        ...


@runtime_checkable
class ServesWithSome(Protocol):
    """A CoreTarget that says how many of its nodes are enough to serve. After a run the simulation heals so many first, and the
    others only when these have served."""

    def nodes_to_serve(
        self, nodes: Sequence[NodeId], statuses: Mapping[NodeId, Mapping[str, Any]], options: msgspec.Struct
    ) -> int:
        """So many of these nodes are enough, whichever they are. statuses: of those that run, among them as many as were enough at
        the beginning."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """A CoreTarget whose data can be saved while it runs, and given back to nodes that do not run. Faults of the family `restore`
    and `themis cluster backup` need it."""

    def backup_requests(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> Mapping[NodeId, msgspec.Struct]:
        """Whom to ask for a backup, by these statuses, and the client's request to each of them; empty where none can be had now.
        Each must answer."""
        ...

    def backup_piece(self, reply: msgspec.Struct) -> str:
        """The piece in the reply to such a request, a JSON text. Raises ValueError, with the reason, where there is none."""
        ...

    def restored(
        self,
        pieces: Mapping[NodeId, str],
        nodes: Sequence[NodeId],
        number: int,
        *,
        since: int,
        interface: str,
        options: msgspec.Struct,
    ) -> Mapping[NodeId, Sequence[Record]]:
        """What the disk of each of these nodes holds after a restore; the first record is a checkpoint.

        number: of the restore; it rises from one restore of a cluster to the next. since: of the last restore of the whole cluster,
        0 where there was none; equal to `number` where this is one: `nodes` are all that there are then, and none of them runs.
        Otherwise the others go on. Raises ValueError, with the reason, for pieces that do not
        fit, and for a restore of some nodes where that would not be safe.
        """
        ...


class ProgramClient(Protocol):
    """Carries calls to the nodes of a Program. Belongs to one event loop; several calls are under way at once."""

    async def call(self, call: Call, node: NodeId) -> Outcome:
        """Put the call to this node; return how it ended. Cancelled when the client's time-out has passed.

        Raises OSError or EOFError when the network failed. The harness makes that and the time-out `info`, or `fail` where `call.f`
        is one of the Program's `reads`. A client that knows better (the connection was refused, say) returns an Outcome itself.
        """
        ...

    async def close(self) -> None:
        """No connection is left."""
        ...


class Connect(Protocol):
    """Makes a ProgramClient. nodes: where this process reaches each node's ports. Called in the running loop."""

    def __call__(self, nodes: Mapping[NodeId, Ports], /) -> ProgramClient: ...


@runtime_checkable
class Program(System, Protocol):
    """A target outside the project: its nodes are started by a command line, and it speaks a protocol of its own.

    Its process is not ours, so it has no clock hook (libfaketime moves its clock where it can), no trace, and no core that could be
    simulated. The harness collects what it prints and what it writes below `place.log_dir`. All durable state is below
    `place.data_dir`, and nowhere else: disk faults strike there. `ProgramDefaults` has most members for a simple program.
    """

    ports: Annotated[Sequence[str], NOT_EMPTY]
    """The names of the ports that a node has, at least one. Probes of links connect to the first."""
    installed: Sequence[str]
    """A command that ends with status 0 on a machine that has the program; empty: there is nothing to look for."""
    install: str
    """How a machine comes to have it, such as "apt-get install etcd-server": told where `installed` fails."""
    packages: Sequence[str]
    """The Debian packages that hold it: `docker` makes an image with them."""
    version: Annotated[str, PATTERN]
    """A regular expression with a group for each part of the version in what `installed` prints; "": any version will do."""
    version_min: Sequence[int]
    """The oldest version that will do, part by part."""
    library: Sequence[str]
    """The Python module that its client imports and what pip installs for it, such as ("redis", "themis-consistency[redis]");
    empty: nothing beyond what Themis itself needs."""
    log_alarms: Sequence[Annotated[str, PATTERN]]
    """Regular expressions that no line of a node's log may match, such as "panic". One that does makes the run INVALID."""
    asks_libc_for_time: bool
    """libfaketime can move its clock. Not so for what is linked statically or asks the kernel, such as Go programs."""
    commands: Mapping[str, frozenset[str]]
    """The operations (their `f`) that it serves of an interface, by the interface. One that is not here is served whole."""
    reads: frozenset[str]
    """The operations that change nothing: one that was not answered has failed, where another may have happened."""
    lost_by_wipe: Sequence[str]
    """Patterns (as pathlib's glob has them) of what a wiped node loses below `place.data_dir`."""
    up_timeout_s: float
    """How long a node may take to answer for the first time, where that is longer than the environment's own time-out."""
    after_up_timeout_s: float
    """How long `after_up` may take."""

    def argv(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Sequence[str]:
        """The command line that starts this node as a foreground process, on the node's machine."""
        ...

    def environment(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """Environment variables to add for the process of this node. PYTHONPATH leads to our packages unless it is here."""
        ...

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """Path below `place.config_dir` -> the text of that file, written anew before each start of the node."""
        ...

    def after_up(self, places: Mapping[NodeId, Place], options: msgspec.Struct) -> Awaitable[None] | None:
        """Called once, when every node answers and before any client calls: forms the cluster, creates a table.

        It may be `async`, or block. This process reaches a node at its `listen`. An exception in it ends the run with that message.
        """
        ...

    async def status(self, node: Ports) -> Mapping[str, Any]:
        """The status that the node at these addresses answers with, a plain mapping. Cancelled after a time-out.

        The node must answer alone, without a quorum: a restarted node answers while the others are dead. clock_ns, where it is
        present, must be the program's own wall clock in ns. Clock faults are then measured by it, and otherwise by a `date` that is
        started as the program was. Raises OSError, EOFError or ValueError when the node does not answer, or the answer makes no
        sense.
        """
        ...

    def client(self, interface: str, options: msgspec.Struct) -> Connect:
        """A function that makes a client for one of `interfaces`, under these options."""
        ...


@runtime_checkable
class Privileged(Protocol):
    """A Program whose nodes need more than a container is given."""

    container_capabilities: Sequence[str]
    """The Linux capabilities that `docker` adds for its nodes, such as "SETUID"."""


class ProgramDefaults(SystemDefaults):
    """Defaults for a simple program: one port, no files, nothing to do once it is up, and a wipe removes all its data."""

    ports: Sequence[str] = ("client",)
    bugs: Mapping[str, Bug] = {}
    installed: Sequence[str] = ()
    install = ""
    packages: Sequence[str] = ()
    version = ""
    version_min: Sequence[int] = ()
    library: Sequence[str] = ()
    log_alarms: Sequence[str] = ()
    commands: Mapping[str, frozenset[str]] = {}
    reads = frozenset({"read"})
    lost_by_wipe: Sequence[str] = ("*",)
    up_timeout_s = 0.0
    after_up_timeout_s = 20.0

    def environment(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """Nothing to add."""
        return {}

    def files(self, place: Place, options: msgspec.Struct, bugs: frozenset[str]) -> Mapping[str, str]:
        """None."""
        return {}

    def after_up(self, places: Mapping[NodeId, Place], options: msgspec.Struct) -> Awaitable[None] | None:
        """Nothing to do."""
        return None

    def primary(self, statuses: Mapping[NodeId, Mapping[str, Any]]) -> NodeId | None:
        """No node leads."""
        return None


Target = CoreTarget | Program
