"""Primary-backup replication of any machine: the first node is the primary for ever, the others keep copies of its log.

A command is acknowledged when a majority of the nodes has it on disk. The primary, which forgets nothing, answers the reads.
"""

from typing import Generic, TypeVar

import msgspec

from targets import core, machine_registry
from targets.command import node_argv
from targets.leader_session import LeaderSession
from targets.machines.machine import Answer, answer_type, answer_with
from targets.target import Bug, FaultModel, Formats, Route, SystemDefaults
from targets.topology import Topology

C = TypeVar("C")


class Entry(msgspec.Struct, Generic[C], frozen=True, tag="entry"):
    """A durable record: the command with this number, from 1."""

    number: int
    command: C


class Copy(msgspec.Struct, Generic[C], frozen=True):
    """The primary to a backup: these follow each other."""

    entries: tuple[Entry[C], ...]


class Copied(msgspec.Struct, frozen=True):
    """A backup to the primary: it has everything up to this number on disk."""

    number: int


class Options(msgspec.Struct, frozen=True):
    copy_ms: int = 20


class Replica:
    def __init__(self, node, members, options, bugs, machine):
        self.node, self.options, self.bugs = node, options, bugs
        self.primary, *backups = sorted(members)
        self.majority = len(members) // 2 + 1
        self.machine, self.log = machine(), []
        self.durable = 0  # The primary's own disk has the entries up to this one...
        self.copied = dict.fromkeys(backups, 0)  # ... and the backups' disks have them up to these.
        self.waiting = {}  # Number of an entry -> the client's request and the result it will be told.

    def step(self, now_ns, event):
        match event:
            case core.Started(damage=str(damage)):
                return [core.Halt(damage)]
            case core.Started(records=records):
                for entry in records:
                    self.append(entry)
                self.durable = len(records)
                return [core.SetTimer("copy", 0)] if self.node == self.primary else []
            case core.Request(request_id=request_id, body=command):
                return self.on_request(request_id, command)
            case core.TimerFired():  # Whoever lacks something gets it (again).
                lacking = {to: self.log[number : number + 64] for to, number in self.copied.items()}
                copies = [core.Send(to, Copy(tuple(entries))) for to, entries in lacking.items()]
                return [*copies, core.SetTimer("copy", self.options.copy_ms * 1_000_000)]
            case core.Received(message=Copy(entries=entries)):
                fresh = [entry for entry in entries if entry.number > len(self.log)]
                if fresh and fresh[0].number > len(self.log) + 1:  # One before these was lost on its way.
                    fresh = []
                for entry in fresh:
                    self.append(entry)
                # What stands behind a Persist is seen by others once the record is durable.
                return [*map(core.Persist, fresh), core.Send(self.primary, Copied(len(self.log)))]
            case core.Received(source=source, message=Copied(number=number)):
                self.copied[source] = max(self.copied[source], number)
                return self.acknowledge()
            case core.SyncDone(token=number):
                self.durable = max(self.durable, number)
                return self.acknowledge()
            case core.DiskFailed(reason=reason):
                return [core.Halt(reason)]

    def on_request(self, request_id, command):
        if self.node != self.primary and not (command.is_read and "stale-read" in self.bugs):
            return [core.Reply(request_id, Answer("not-leader", leader=self.primary))]
        if command.is_read:
            return [core.Reply(request_id, answer_with(self.machine.query(command)))]
        entry = Entry(len(self.log) + 1, command)
        self.waiting[entry.number] = request_id, self.append(entry)
        up_to_date = [to for to, number in self.copied.items() if number == entry.number - 1]
        # The copies leave after the record is durable: no backup holds what the primary may forget.
        return [core.Persist(entry, token=entry.number), *(core.Send(to, Copy((entry,))) for to in up_to_date)]

    def append(self, entry):
        self.log.append(entry)
        return self.machine.apply(entry.command)

    def acknowledge(self):
        held = sorted([self.durable, *self.copied.values()], reverse=True)[self.majority - 1]
        done = [self.waiting.pop(number) for number in sorted(self.waiting) if number <= held]
        return [core.Reply(request_id, answer_with(result)) for request_id, result in done]

    def status(self):
        role = "primary" if self.node == self.primary else "backup"
        return {"role": role, "leader": self.primary, "log_length": len(self.log)}


class PrimaryBackup(SystemDefaults):
    name = "primary-backup"
    summary = "one primary for ever, and copies of its log"
    interfaces = machine_registry.names()
    option_type = Options
    stale_read = Bug(
        "stale-read", "Backups answer reads from their copies.", "A read returns an old value.", ("partition",)
    )
    bugs = {stale_read.name: stale_read}  # noqa: RUF012 (never changed)
    fault_model = FaultModel(frozenset({"partition", "kill", "pause", "clock", "slow", "loss", "duplicate", "reorder"}))

    def core(self, node, members, options, bugs, rng, interface):
        return Replica(node, members, options, bugs, machine_registry.find(interface))

    def formats(self, interface):
        machine = machine_registry.find(interface)
        routes = (Route("/copy", Copy[machine.command_type]), Route("/copied", Copied))
        return Formats(machine.command_type, answer_type(machine), Entry[machine.command_type], routes)

    def session(self, interface, process, topology):
        return LeaderSession(machine_registry.find(interface))  # Asks the process's node, and then whom that names.

    def argv(self, place, options, bugs, interface):
        return node_argv("primary_backup:TARGET", place, options, bugs, interface)

    def topology(self, nodes, options):
        return Topology({node: "primary" if node == min(nodes) else "backup" for node in nodes})

    def claimed_model(self, interface, options):
        return "linearizable"

    def primary(self, statuses):
        return next((status["leader"] for status in statuses.values()), None)

    def converged(self, statuses):
        return len({status["log_length"] for status in statuses.values()}) == 1


TARGET = PrimaryBackup()
