"""The routes of `themis serve`: read only, nothing outside the store, every answer under a strict policy.

A run's own page may hold whatever somebody wrote into the file: it is sent into a sandbox without an origin, and may load nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import tempfile
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from harness.errors import UsageError
from harness.report.page.document import asset
from harness.report.page.report import REPORT, run_page
from harness.report.serve.listing import ROWS_MAX, SORTS, Campaigns, Listing, Row, selected
from harness.store.packing import files_below, pack
from harness.store.runs import RunDirectory, Store
from histories.printing import line, value

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:+-]{0,199}")
"""A folder of the store; no dot first, so that neither .. nor a hidden file is one."""

OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page has a policy of its own as well, with the digests of its scripts; both hold."""

TEXT_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
FILES = ("spec.json", "verdict.json", "schedule.json", "history.jsonl", "themis.log")
COPY_BYTES = 1 << 18

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers for one store. host: what it is bound to, which requests must name. campaigns: of the store; None: none is shown."""

    def __init__(self, store: Store, host: str, campaigns: Campaigns | None = None) -> None:
        self.listing = Listing(store)
        self._campaigns = campaigns
        self._store = store
        self._host = host
        self._reading = asyncio.Lock()
        self._drawing = asyncio.Semaphore(1)

    def application(self) -> web.Application:
        """The routes; only GET and HEAD."""
        application = web.Application(middlewares=[self._guarded])
        run = "/run/{name}/{time}"
        application.add_routes(
            [
                web.get("/", self._shell),
                web.get("/static/{file}", self._static),
                web.get("/api/runs", self._runs),
                web.get("/api/compare", self._compare),
                web.get("/api/campaign", self._campaign),
                web.get(f"{run}/{REPORT}", self._report),
                web.get(f"{run}/run.zip", self._zip),
                web.get(f"{run}/{{file}}", self._file),
            ]
        )
        return application

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses whoever names another host (a foreign page that resolves to this machine), and sets what every answer has."""
        if not self._is_own(request.host):
            raise web.HTTPForbidden(text="themis serve: this host is not served here")
        try:
            response = await handler(request)
        except UsageError as error:
            response = web.Response(status=404, text=line(error))
        except web.HTTPException as error:
            error.headers.update(_headers(TEXT_POLICY))
            raise
        if not response.prepared:
            for name, text in _headers(OWN_POLICY).items():
                response.headers.setdefault(name, text)
        return response

    def _is_own(self, host: str) -> bool:
        if not is_loopback(self._host):
            return True
        name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
        return name == self._host or is_loopback(name.strip("[]"))

    async def _shell(self, _: web.Request) -> web.Response:
        return web.Response(text=asset("serve.html"), content_type="text/html")

    async def _static(self, request: web.Request) -> web.Response:
        kinds = {"serve.js": "text/javascript", "serve.css": "text/css"}
        name = request.match_info["file"]
        if name not in kinds:
            raise web.HTTPNotFound
        return web.Response(text=asset(name), content_type=kinds[name])

    async def _rows(self) -> list[Row]:
        async with self._reading:
            runs = await asyncio.to_thread(self.listing.rows)
            return runs if self._campaigns is None else runs + await asyncio.to_thread(self._campaigns.rows)

    async def _runs(self, request: web.Request) -> web.Response:
        """One page of the table."""
        asked = request.query
        sort = asked.get("sort", "time")
        if sort not in SORTS:
            raise web.HTTPBadRequest(text=f"sort: one of {', '.join(SORTS)}")
        first, count = _number(asked.get("first", "0")), min(ROWS_MAX, max(1, _number(asked.get("count", "50"))))
        rows = await self._rows()
        found = selected(
            rows,
            asked.get("q", ""),
            asked.get("verdict", ""),
            sort,
            descending=asked.get("down", "1") == "1",
            kind=asked.get("kind", ""),
        )
        totals: dict[str, int] = {}
        for row in rows:
            if row.kind == "run":
                totals[row.verdict] = totals.get(row.verdict, 0) + 1
        total = sum(totals.values())
        return _json(
            {
                "total": total,
                "campaigns": len(rows) - total,
                "found": len(found),
                "totals": totals,
                "rows": found[first : first + count],
            }
        )

    async def _campaign(self, request: web.Request) -> web.Response:
        """What one campaign found."""
        name, _, time = request.query.get("of", "").partition("/")
        if self._campaigns is not None and NAME.fullmatch(name) and NAME.fullmatch(time):
            async with self._reading:
                found = await asyncio.to_thread(self._campaigns.details, name, time)
            if found is not None:
                return _json(found)
        raise web.HTTPNotFound(text="no such campaign in this store")

    async def _compare(self, request: web.Request) -> web.Response:
        """Two runs: their rows, and every field of their specs in which they differ."""
        runs = [self._run(*request.query.get(side, "").partition("/")[::2]) for side in ("a", "b")]
        return _json(await asyncio.to_thread(self._compared, *runs))

    def _compared(self, first: RunDirectory, second: RunDirectory) -> dict[str, Any]:
        specs = [msgspec.to_builtins(run.read_spec()) for run in (first, second)]
        results = [run.read_result() for run in (first, second)]
        parts = [
            {} if result is None else {name: part.validity.value for name, part in result.verdict.leaves()}
            for result in results
        ]
        fields = sorted({*specs[0], *specs[1]})
        return {
            "rows": [self.listing.row(first), self.listing.row(second)],
            "same": [line(name, 60) for name in fields if specs[0].get(name) == specs[1].get(name)],
            "spec": [
                [line(name, 60), *(value(spec.get(name), 200) for spec in specs)]
                for name in fields
                if specs[0].get(name) != specs[1].get(name)
            ],
            "checks": [
                [line(name, 80), *(part.get(name, "") for part in parts)] for name in sorted({*parts[0], *parts[1]})
            ],
            "counts": [
                [line(name, 60), *("" if result is None else str(result.counts.get(name, "")) for result in results)]
                for name in sorted({name for result in results if result for name in result.counts})
            ],
        }

    def _run(self, name: str, time: str) -> RunDirectory:
        """The run of that name and time. Raises HTTPNotFound when the store has none; a link is none."""
        if NAME.fullmatch(name) and NAME.fullmatch(time):
            path = self._store.root / name / time
            is_link = path.is_symlink() or path.parent.is_symlink()
            if not is_link and any((path / file).is_file() for file in ("spec.json", "history.jsonl")):
                return RunDirectory(path)
        raise web.HTTPNotFound(text="no such run in this store")

    def _run_of(self, request: web.Request) -> RunDirectory:
        return self._run(request.match_info["name"], request.match_info["time"])

    async def _report(self, request: web.Request) -> web.StreamResponse:
        """The run's page as it is stored; or one made now, without messages, and kept nowhere."""
        run = self._run_of(request)
        path = run.path / REPORT
        if path.is_file() and not path.is_symlink():
            return web.FileResponse(path, headers=_headers(PAGE_POLICY) | {"Content-Type": "text/html; charset=utf-8"})
        async with self._drawing:
            page = await asyncio.to_thread(run_page, run, with_messages=False)
        return web.Response(body=page, content_type="text/html", charset="utf-8", headers=_headers(PAGE_POLICY))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        run, name = self._run_of(request), request.match_info["file"]
        path = run.path / name
        if name not in FILES or path.is_symlink() or not path.is_file():
            raise web.HTTPNotFound(text="no such file")
        return web.FileResponse(path, headers=_headers(TEXT_POLICY) | {"Content-Type": "text/plain; charset=utf-8"})

    async def _zip(self, request: web.Request) -> web.StreamResponse:
        """All files of the run, packed; links are left out, and what cannot be read is named in left-out.txt."""
        run = self._run_of(request)
        with tempfile.TemporaryFile() as packed:
            try:
                await asyncio.to_thread(_pack, run.path, packed)
            except OSError as error:
                raise web.HTTPInternalServerError(
                    text=f"the zip file cannot be made: {error.strerror or error}"
                ) from error
            response = web.StreamResponse(
                headers=_headers(TEXT_POLICY)
                | {
                    "Content-Type": "application/zip",
                    "Content-Length": str(packed.seek(0, 2)),
                    "Content-Disposition": f'attachment; filename="{run.path.parent.name}-{run.path.name}.zip"',
                }
            )
            await response.prepare(request)
            packed.seek(0)
            while block := packed.read(COPY_BYTES):
                await response.write(block)
            await response.write_eof()
        return response


def _pack(folder: Path, packed: Any) -> None:
    root = Path(f"{folder.parent.name}-{folder.name}")
    own = (path for path in files_below(folder) if folder.resolve() in path.resolve().parents)
    left_out = pack(packed, ((path, root / path.relative_to(folder)) for path in own), level=3)
    if left_out:  # Who unpacks it sees no terminal of ours.
        with zipfile.ZipFile(packed, "a") as archive:
            archive.writestr(f"{root}/left-out.txt", "".join(f"{line(why)}\n" for why in left_out))


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _json(data: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), content_type="application/json")


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise web.HTTPBadRequest(text="first and count are numbers")
    return int(text)


def is_loopback(host: str) -> bool:
    """Whether this name or address is only reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
