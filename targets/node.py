"""A node as a real process: any CoreTarget behind HTTP, with a disk, a network and a clock.

    python -m targets.node --target raft --interface kv --id n1 --listen 127.0.0.1:9001 --peer n2=127.0.0.1:9002 --data-dir D

Routes: the target's peer routes, the client route /<interface> (POST) and those of the target's own, `GET /status`,
and for the harness `POST /clock` (offset_ns, rate) and `POST /epoch` (epoch_ns: when the run began).
Bodies are JSON. Errors are {"error": text}.

Exit status: 0 after SIGTERM or SIGINT; 3 when the core halted; 4 when the core raised; 5 when the machine that it
replicates raised; 254 for a wrong command line, an
address or a data directory in use, or another node's data.

Nodes take peers' messages, /clock and /epoch only with the run's secret, which is in THEMIS_SECRET, or in the file that
THEMIS_SECRET_FILE names (targets/secret.py).

Environment, set by the harness: THEMIS_CLOCK, "wall_ns@monotonic_ns" as the controller on the same machine read them;
THEMIS_EPOCH_NS, when the run began, or "pending"; THEMIS_CLOCK_SKEW, "offset_ns@rate" of the clock at start;
THEMIS_TRACE_SEGMENT_BYTES: how long one file of its trace becomes (targets/journal.py);
THEMIS_MESSAGES=1: it logs its messages (targets/wire_log.py);
THEMIS_GATEWAY=1: requests that another node must serve are passed on to it (targets/gateway.py).
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from histories import printing, tracing
from histories.json_text import REQUEST_DEPTH_MAX
from targets import data_owner, secret, wire_log
from targets.core import (
    CancelTimer,
    Core,
    DiskFailed,
    Effect,
    Event,
    Halt,
    Persist,
    Received,
    Reply,
    Request,
    Send,
    SetTimer,
    Started,
    SyncDone,
    TimerFired,
    Trace,
)
from targets.gateway import VARIABLE as GATEWAY
from targets.gateway import Gateway
from targets.journal import SEGMENT_VARIABLE, Journal
from targets.machines.machine import MachineFailed
from targets.node_arguments import Refusal, Settings, parse
from targets.outbox import Answer, Outbox, Performed
from targets.serving import serve
from targets.target import ClientRoute
from targets.timekeeping import NodeClock, Reading, Timers
from targets.transport import SOURCE_HEADER, Pool, Response, get, post, with_body
from targets.wal import LogInUse, WriteAheadLog
from targets.wire import BadBody, Codec, Wire, encode, plain

HALTED = 3
CRASHED = 4
MACHINE_FAILED = 5
REFUSED = 6
"""The core halted at its start: it does not take what its disk holds."""
USAGE = 254

DESCRIPTORS = 16_384
"""How many files and connections it may have, where the machine lets it."""

PEER_TIMEOUT_S = 1.0
"""A peer that does not answer an RPC within this is given up, with its connection."""

_log = logging.getLogger("themis.node")


class Node:
    """One core and what drives it. Belongs to one event loop; `run` returns the exit status."""

    def __init__(self, settings: Settings, log: WriteAheadLog) -> None:
        self.settings = settings
        self.target = settings.target
        self.peers = frozenset(settings.peers)
        self.secret = settings.secret
        formats = settings.target.formats(settings.interface)
        self.wire = Wire(formats.routes)
        self.client_path = f"/{settings.interface}"
        self.client_routes: dict[tuple[str, str], ClientRoute] = {
            (route.method, route.path): route for route in formats.clients
        }
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[tuple[int, str]] = self.loop.create_future()
        self._status_of_halt = HALTED
        origin = Reading.parse(os.environ["THEMIS_CLOCK"]) if "THEMIS_CLOCK" in os.environ else Reading.now()
        offset_ns, _, rate = os.environ.get("THEMIS_CLOCK_SKEW", "0@1").partition("@")
        self.clock = NodeClock(origin, int(offset_ns), float(rate))
        self.started_ns = self.clock.true_ns()
        epoch = os.environ.get("THEMIS_EPOCH_NS", str(self.started_ns))
        self.journal: Journal | None = None
        self.messages: wire_log.WireLog | None = None
        if settings.log_dir is not None:
            epoch_ns = None if epoch == "pending" else int(epoch)
            segment_bytes = int(os.environ.get(SEGMENT_VARIABLE, "0")) or None
            trace = settings.log_dir / tracing.TRACE_FILE
            self.journal = Journal(trace, settings.node, self.clock, epoch_ns, segment_bytes)
            if os.environ.get(wire_log.VARIABLE) == "1":
                place = settings.log_dir / wire_log.FILE
                kept = (wire_log.SEGMENT_BYTES, wire_log.SEGMENTS_KEPT)
                messages = Journal(place, settings.node, self.clock, epoch_ns, *kept, line=wire_log.entry)
                self.journal.companion = messages
                names = sorted({settings.node, *settings.peers})
                self.messages = wire_log.WireLog(messages, settings.node, names, self.journal.incarnation)
        self.timers = Timers(self.clock, lambda name: self.step(TimerFired(name)))
        self.pools = {peer: Pool(address, timeout_s=PEER_TIMEOUT_S) for peer, address in settings.peers.items()}
        self.gateway: Gateway | None = None
        if os.environ.get(GATEWAY) == "1" and settings.peers:
            self.gateway = Gateway(self.peers, self.request, self._ask_as_client)
        self._heads: dict[tuple[str, type], bytes] = {}
        shown = f"{SOURCE_HEADER}: {settings.node}\r\n{secret.header(settings.secret)}"
        for peer in settings.peers:
            for path, route in self.wire.routes.items():
                self._heads[peer, plain(route.request)] = post(path, peer, shown)
        self.outbox = Outbox(
            append=lambda batch, is_checkpoint: (log.replace if is_checkpoint else log.append)(batch),
            perform=self._perform,
            set_timer=self._set_timer,
            on_durable=lambda token: self.step(SyncDone(token)),
            on_failure=self._disk_failed,
        )
        self.request_codec: Codec[Any] = Codec(formats.request, REQUEST_DEPTH_MAX)
        self._reply_codec: Codec[Any] = Codec(formats.reply)
        self._body_codecs: dict[str, Codec[Any]] = {
            route.path: Codec(route.body, REQUEST_DEPTH_MAX) for route in formats.clients if route.method == "POST"
        }
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._open_count = 0
        self._answers: dict[int, Callable[[Any], Any]] = {}
        """Request id -> what makes the answer of the reply, for requests by a route of the target's own."""
        self._ops: dict[int, int] = {}
        """Request id -> the index of its invocation in the history."""
        members = tuple(sorted({settings.node, *settings.peers}))
        rng = random.Random(settings.seed)
        self.core: Core = self.target.core(
            settings.node, members, settings.options, settings.bugs, rng, settings.interface
        )

    # --- stepping -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Give the core what the disk holds."""
        recovery = self.log.recovery
        if recovery.torn_bytes:
            _log.warning("the log ended in a torn record of %d bytes, which was cut off", recovery.torn_bytes)
        if recovery.damage is not None:
            _log.error("the log is damaged: %s", recovery.damage)
        _log.info("starting with %d records", len(recovery.records))
        if self.journal is not None:
            restored = data_owner.restored(self.settings.data_dir)
            self.journal.write(
                tracing.Started(self.journal.incarnation, len(recovery.records), recovery.damage, restored)
            )
        if self.messages is not None:
            self.messages.happened("start", f"{len(recovery.records)} records")
        effects = self._step(Started(recovery.records, recovery.damage, self.settings.is_rejoining))
        if (recovery.records or recovery.damage is not None) and any(isinstance(effect, Halt) for effect in effects):
            self._status_of_halt = REFUSED
        self._put(effects)

    def step(self, event: Event) -> None:
        """Let the core take one event, and perform the effects that it returns."""
        self._put(self._step(event))

    def _put(self, effects: Sequence[Effect | Answer]) -> None:
        if self.messages is not None:
            for effect in effects:
                if isinstance(effect, Persist):
                    self.messages.happened("persist", type(effect.record).__name__, effect.record)
        try:
            self.outbox.put(effects)
        except Exception as error:  # noqa: BLE001 (a step whose effects are half performed cannot be taken back)
            _log.critical("an effect could not be performed:\n%s", traceback.format_exc())
            self.end(CRASHED, f"performing an effect raised {type(error).__name__}: {error}")

    def _step(self, event: Event) -> Sequence[Effect]:
        if self.ended.done():
            return ()
        try:
            return self.core.step(self.clock.now_ns(), event)
        except MachineFailed as error:
            _log.critical("the machine raised on %.1000r:\n%s", event, traceback.format_exc())
            self.end(MACHINE_FAILED, str(error))
            return ()
        except Exception as error:  # noqa: BLE001 (a core that raised is half changed: it must not go on)
            _log.critical("the core raised on %.1000r:\n%s", event, traceback.format_exc())
            self.end(CRASHED, f"the core raised {type(error).__name__}: {error}")
            return ()

    def end(self, status: int, why: str) -> None:
        """Stop the node with this exit status; the first call counts."""
        if not self.ended.done():
            self.ended.set_result((status, why))

    def _perform(self, effect: Performed) -> None:
        if self.ended.done():
            return
        match effect:
            case Send():
                self._send(effect.to, effect.message)
            case Answer():
                if self.messages is not None:
                    self.messages.answered(effect.exchange, effect.message)
                self._resolve(effect.exchange, effect.message)
            case Reply():
                op = self._ops.pop(effect.request_id, None)
                if self.journal is not None:
                    self.journal.write(tracing.Served(op, effect.index))
                if self.messages is not None:
                    self.messages.happened("reply", f"to request {effect.request_id}", effect.body)
                self._resolve(effect.request_id, effect.body)
            case Trace():
                if self.journal is not None:
                    self.journal.write(effect.event)
            case Halt():
                self.end(self._status_of_halt, f"the core halted: {effect.reason}")

    def _set_timer(self, effect: SetTimer | CancelTimer) -> None:
        if isinstance(effect, SetTimer):
            self.timers.set(effect.name, effect.delay_ns)
        else:
            self.timers.cancel(effect.name)

    def _disk_failed(self, reason: str) -> None:
        _log.error("the disk refused a record: %s", reason)
        effects = self._step(DiskFailed(reason))
        if any(isinstance(effect, Persist) for effect in effects):
            self.end(HALTED, "the core persists although the disk failed")
        self._put(effects)

    def _send(self, to: str, message: msgspec.Struct) -> None:
        head = self._heads.get((to, type(message)))
        if head is None:
            _log.error("not sent to %s: %s is not a request of any route, or an answer to nothing", to, type(message))
            return
        codec = self.wire.responses[self.wire.path_of[type(message)]]
        messages = self.messages
        number = 0 if messages is None else messages.sent(to, message)

        def done(result: Response | Exception) -> None:
            if messages is not None and not isinstance(result, Response):
                messages.lost(to, number, message, str(result) or type(result).__name__)
            if not isinstance(result, Response) or result.status == 204 or codec is None:
                return
            if result.status != 200:
                _log.warning("%s answered %d to %s: %.200r", to, result.status, type(message).__name__, result.body)
                return
            try:
                answer = codec.decode(result.body)
            except BadBody as error:
                _log.warning("%s answered %s with a bad body: %s", to, type(message).__name__, error)
                return
            if messages is not None:
                messages.heard(to, number + wire_log.ANSWER, answer)
            self.step(Received(to, answer))

        headers = b"" if messages is None else b"%b: %d\r\n" % (wire_log.HEADER.encode(), number)
        self.pools[to].ask(with_body(head, encode(message), headers), done)

    # --- serving ------------------------------------------------------------------------------------------------------

    def receive(self, source: str, path: str, body: bytes, number: int = 0) -> asyncio.Future[bytes] | None:
        """Take a peer's message; the future gives the answer's body, None when the core does not answer. Raises BadBody.

        number: the sender's, where it logs its messages.
        """
        route = self.wire.routes[path]
        message = self.wire.requests[path].decode(body)
        if route.sender and (named := getattr(message, route.sender)) != source:
            raise BadBody(f"{route.sender}: the message is from {named[:200]!r}, and {source} sent it")
        if self.messages is not None:
            self.messages.heard(source, number, message)
        effects = self._step(Received(source, message))
        response = plain(route.response)
        if response is not None:
            for index, effect in enumerate(effects):
                if isinstance(effect, Send) and effect.to == source and type(effect.message) is response:
                    exchange, future = self._opened()
                    if self.messages is not None:
                        self.messages.asked(exchange, source, number)
                    answered: list[Effect | Answer] = list(effects)
                    answered[index] = Answer(exchange, effect.message)
                    self._put(answered)
                    return future
        self._put(effects)
        return None

    def request(self, body: bytes, op: int | None = None) -> asyncio.Future[bytes]:
        """Take a client's request; the future gives the reply's body. op: the invocation's index in the history. Raises BadBody."""
        request = self.request_codec.decode(body)
        number, future = self._opened()
        if op is not None:
            self._ops[number] = op
        if self.messages is not None:
            self.messages.happened("request", f"{getattr(request, 'f', type(request).__name__)} {number}", request)
        self.step(Request(number, request))
        return future

    def request_by(self, route: ClientRoute, body: bytes) -> asyncio.Future[bytes]:
        """Take a request by one of the target's own routes; the future gives the answer's body. Raises BadBody."""
        request = route.request(self._body_codecs[route.path].decode(body) if route.method == "POST" else None)
        if self.gateway is not None:
            return self.loop.create_task(self._carried(self.gateway, route, request))
        number, future = self._opened()
        self._answers[number] = lambda reply: route.answer(request, reply)
        self.step(Request(number, request))
        return future

    async def _carried(self, gateway: Gateway, route: ClientRoute, request: msgspec.Struct) -> bytes:
        """The answer's body, of this node or of the one that must serve the request."""
        body = encode(request)
        return encode(route.answer(request, self._reply_codec.decode(await gateway.carry(body, self.request(body)))))

    def _ask_as_client(self, peer: str, body: bytes | None) -> asyncio.Future[Response | Exception]:
        """Put a request of the client route to a peer, showing the secret, so that it is passed on no further; the question for its
        status when there is none."""
        if body is None:
            request = get("/status", peer)
        else:
            request = with_body(post(self.client_path, peer, secret.header(self.secret)), body)
        future: asyncio.Future[Response | Exception] = self.loop.create_future()
        self.pools[peer].ask(request, lambda result: None if future.done() else future.set_result(result))
        return future

    def _opened(self) -> tuple[int, asyncio.Future[bytes]]:
        self._open_count += 1
        if self._open_count % 1024 == 0:  # The server gave up on some.
            self._open = {number: future for number, future in self._open.items() if not future.done()}
            self._ops = {number: op for number, op in self._ops.items() if number in self._open}
            self._answers = {number: answer for number, answer in self._answers.items() if number in self._open}
        future: asyncio.Future[bytes] = self.loop.create_future()
        self._open[self._open_count] = future
        return self._open_count, future

    def _resolve(self, number: int, message: msgspec.Struct) -> None:
        future = self._open.pop(number, None)
        answer = self._answers.pop(number, None) if self._answers else None
        if future is not None and not future.done():
            future.set_result(encode(message if answer is None else answer(message)))

    def status(self) -> dict[str, Any]:
        """What `GET /status` says: the core's status and the node's own facts."""
        return {
            **self.core.status(),
            "node": self.settings.node,
            "target": self.target.name,
            "interface": self.settings.interface,
            "bugs": sorted(self.settings.bugs),
            "pid": os.getpid(),
            "uptime_ns": self.clock.true_ns() - self.started_ns,
            "clock_ns": self.clock.now_ns(),
            "clock_rate": self.clock.rate,
            "disk_damage": self.log.recovery.damage,
        }

    def close(self) -> None:
        """Stop the timers, the connections and the disk; durable records stay."""
        self.timers.close()
        for pool in self.pools.values():
            pool.close()
        self.outbox.close()
        if self.journal is not None:
            self.journal.close()
        self.log.close()


# --- starting -----------------------------------------------------------------------------------------------------------


async def run(settings: Settings) -> int:
    """Run one node until it is told to stop or must; returns its exit status. Raises Refusal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, DESCRIPTORS)), hard))
    try:
        data_owner.claim(settings.data_dir, settings.target.name, settings.interface, settings.node)
        log = WriteAheadLog(settings.data_dir / "wal.log", settings.target.formats(settings.interface).record)
    except LogInUse as error:
        raise Refusal(str(error)) from None
    except data_owner.Foreign as error:
        raise Refusal(f"--data-dir {settings.data_dir}: {error}") from None
    except OSError as error:
        raise Refusal(f"--data-dir {settings.data_dir}: {error.strerror or error}") from None
    try:
        node = Node(settings, log)
    except ValueError as error:  # Options that do not fit the cluster.
        log.close()
        raise Refusal(str(error)) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.end, 0, f"told to by {number.name}")
    try:
        server = await serve(node, settings.listen)
    except OSError as error:
        node.close()
        reason = "the address is in use" if error.errno == errno.EADDRINUSE else str(error)
        raise Refusal(f"--listen {settings.listen}: {reason}") from None
    node.start()
    gc.freeze()  # What was imported lives as long as the process.
    gc.set_threshold(50_000, 20, 20)
    _log.info("%s listens on %s", settings.node, settings.listen)
    status, why = await node.ended
    server.close()
    node.close()
    _log.log(logging.CRITICAL if status else logging.INFO, "stopped with status %d: %s", status, " ".join(why.split()))
    return status


class _HarmlessFormatter(logging.Formatter):
    """The log may be read in a terminal, and tells of what peers and clients sent."""

    def format(self, record: logging.LogRecord) -> str:
        return printing.harmless(super().format(record))


def _configure_logging(settings: Settings) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if settings.log_dir is not None:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(settings.log_dir / "node.log", encoding="utf-8", errors="backslashreplace")
    name = settings.node.replace("%", "%%")
    form = _HarmlessFormatter(f"%(asctime)s.%(msecs)03d {name} %(levelname)s %(message)s", datefmt="%H:%M:%S")
    form.converter = time.gmtime  # As all logs of a run.
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node by command line; returns its exit status."""
    import uvloop

    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments)
        _configure_logging(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run(settings))
    except (Refusal, OSError) as error:
        sys.stderr.write(f"themis node: {printing.block(error)}\n")
        return USAGE
    except SystemExit:  # argparse has shown its help.
        return 0


if __name__ == "__main__":
    sys.exit(main())
