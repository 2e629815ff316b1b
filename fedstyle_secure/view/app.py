"""The application: from an address to a page. What is read comes from the shelf, and nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fedstyle_secure.accounts import Account, accounts_in
from fedstyle_secure.errors import FedStyleError
from fedstyle_secure.report.page.html import MEDIA
from fedstyle_secure.studios import withdrawals
from fedstyle_secure.view.guard import MOST_BYTES, Guard, Keys, TooLargeError, too_large
from fedstyle_secure.view.pages.compare import compare_page
from fedstyle_secure.view.pages.findings import Filter, finding_page, findings_page
from fedstyle_secure.view.pages.ledgers import ledgers_page
from fedstyle_secure.view.pages.pictures import file_of, pictures_page
from fedstyle_secure.view.pages.policy import PolicyPage, policy_page
from fedstyle_secure.view.pages.run import Audited, audit_of, run_page
from fedstyle_secure.view.pages.runs import runs_page
from fedstyle_secure.view.pages.sweeps import sweep_page
from fedstyle_secure.view.reading import read_safely
from fedstyle_secure.view.render import Renderer
from fedstyle_secure.view.shelf import MissingError, Place, Shelf, whole

_T = TypeVar("_T")

_HERE = Path(__file__).parent
_STATIC = {
    "view.css": (_HERE / "static" / "view.css", "text/css"),
    "report.css": (_HERE.parent / "report" / "page" / "templates" / "report.css", "text/css"),
    "htmx.js": (_HERE / "static" / "htmx-2.0.11.min.js", "text/javascript"),
    "htmx-LICENSE.txt": (_HERE / "static" / "htmx-LICENSE.txt", "text/plain"),
    "icon.svg": (_HERE / "static" / "icon.svg", "image/svg+xml"),
}

_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A drawn curve styles itself, and does nothing else."""

_TOP = 10
"""Artists that a search lists."""


class _InMemory(MultiPartParser):
    """A picture that is searched with touches no disk."""

    spool_max_size = MOST_BYTES + 1


def view_app(shelf: Shelf, keys: Keys, policy: Path | None = None) -> ASGIApp:
    """The guarded application.

    Args:
        shelf: What is browsed.
        keys: What opens it.
        policy: A policy that runs are held against, or None.
    """
    return Guard(_Pages(shelf, policy).application(), keys)


class _Pages:
    def __init__(self, shelf: Shelf, policy: Path | None) -> None:
        self._shelf, self._policy = shelf, policy
        self._render = Renderer(str(shelf.root), "" if policy is None else policy.name)
        # What takes seconds is done once at a time, and kept until a file changes.
        self._busy, self._kept = Lock(), dict[tuple[str, str], tuple[str, Any]]()

    def application(self) -> Starlette:
        get = [
            ("/", self._runs),
            ("/compare", self._compare),
            ("/runs/{run}", self._run),
            ("/runs/{run}/findings", self._findings),
            ("/runs/{run}/findings/{place}", self._finding),
            ("/runs/{run}/ledgers", self._ledgers),
            ("/runs/{run}/ledgers/{place}", self._ledger),
            ("/runs/{run}/pictures", self._pictures),
            ("/runs/{run}/pictures/{name}", self._picture),
            ("/runs/{run}/policy", self._policy_of),
            ("/sweeps/{sweep}", self._sweep),
            ("/static/{name}", self._static),
        ]
        routes = [Route(path, found, methods=["GET"]) for path, found in get]
        return Starlette(
            routes=[*routes, Route("/runs/{run}/search", self._search, methods=["GET", "POST"])],
            exception_handlers={
                FedStyleError: self._refused,
                HTTPException: self._http,
                TooLargeError: lambda request, error: too_large(),
                Exception: self._failed,
            },
        )

    # Pages

    def _runs(self, request: Request) -> Response:
        return self._page("runs", page=runs_page(self._shelf.listing()))

    def _run(self, request: Request) -> Response:
        place = self._place(request)
        return self._page("run", place=place, page=self._told(place, lambda: run_page(place.run)))

    def _findings(self, request: Request) -> Response:
        place = self._place(request)
        asked = Filter(
            *(request.query_params.get(key, "") for key in ("view", "verdict", "attack", "target"))
        )
        audited = self._audited(place)
        page = self._told(place, lambda: findings_page(audited, asked))
        return self._page("findings", place=place, page=page)

    def _finding(self, request: Request) -> Response:
        place = self._place(request)
        audited = self._audited(place)
        number = _number(request.path_params["place"], len(audited.findings))
        at = request.query_params.get("at", "")
        corner = int(at) if at.isascii() and at.isdigit() and len(at) < 10 else None
        page = self._told(place, lambda: finding_page(place.run, audited, number, corner))
        return self._page("finding", place=place, page=page)

    def _ledgers(self, request: Request) -> Response:
        place = self._place(request)
        found = self._accounts(place)
        page = self._told(place, lambda: ledgers_page(place.run.config(), found))
        return self._page("ledgers", place=place, page=page)

    def _ledger(self, request: Request) -> Response:
        place = self._place(request)
        found = self._accounts(place)
        number = _number(request.path_params["place"], len(found))
        page = self._told(place, lambda: ledgers_page(place.run.config(), found))
        return self._page("ledger", place=place, page=page, row=page.rows[number])

    def _pictures(self, request: Request) -> Response:
        place = self._place(request)
        audited = self._audited(place)
        page = self._told(place, lambda: pictures_page(audited, self._withdrawn(place, audited)))
        return self._page("pictures", place=place, page=page)

    def _picture(self, request: Request) -> Response:
        place, name = self._place(request), request.path_params["name"]
        audited = self._audited(place)
        path = self._told(place, lambda: file_of(place.run, audited, name, self._withdrawn(place, audited)))
        if path is None:
            raise MissingError("no picture of that name may be shown")
        media = MEDIA[path.suffix.lower()]
        headers = {"Content-Security-Policy": _SVG_POLICY} if media == "image/svg+xml" else {}
        return Response(self._told(place, path.read_bytes), media_type=media, headers=headers)

    def _policy_of(self, request: Request) -> Response:
        place = self._place(request)
        page = None if self._policy is None else self._checked(place, self._policy)
        return self._page("policy", place=place, page=page)

    def _compare(self, request: Request) -> Response:
        names = [request.query_params.get(key, "") for key in ("a", "b")]
        runs = self._shelf.listing().runs
        if not all(names):
            return self._page("compare", runs=runs, names=names, places=None, page=None)
        one, other = (self._shelf.run(name) for name in names)
        page = self._told(one, lambda: compare_page(one.run, other.run))
        both = (one, other)
        return self._told(one, lambda: self._page("compare", runs=runs, names=names, places=both, page=page))

    def _sweep(self, request: Request) -> Response:
        place = self._shelf.sweep(request.path_params["sweep"])
        page = self._told(place, lambda: sweep_page(place.path, self._shelf.cells(place)))
        return self._page("sweep", place=place, page=page)

    async def _search(self, request: Request) -> Response:
        if request.method != "POST":
            return await run_in_threadpool(self._search_page, request)
        try:
            form = await _InMemory(request.headers, request.stream(), max_files=1, max_fields=8).parse()
        except (MultiPartException, KeyError, ValueError, OSError):
            return await run_in_threadpool(
                self._search_page, request, problem="This is no form with a picture."
            )
        try:
            given = form.get("picture")
            data = b"" if given is None or isinstance(given, str) else await given.read()
        finally:
            await form.close()
        if not data:
            return await run_in_threadpool(self._search_page, request, problem="Choose a picture first.")
        return await run_in_threadpool(self._found, request, data)

    def _found(self, request: Request, data: bytes) -> Response:
        # Takes seconds to load, which no other page needs.
        from fedstyle_secure.systems.style.search import search_bytes

        place = self._place(request)
        studios = self._shelf.studios(place.run)
        if studios is None:
            return self._search_page(request)
        try:
            with self._busy:
                matches = read_safely(place.path, lambda: search_bytes(place.run, data, _TOP, studios))
        except FedStyleError as error:
            return self._search_page(request, problem=str(error))
        return self._search_page(request, matches=matches)

    def _search_page(self, request: Request, problem: str = "", matches: Any = None) -> Response:
        place = self._place(request)
        run = place.run
        why = ""
        if not run.finished or self._told(place, lambda: run.config().run.system) != "style":
            why = "A finished run of style search can be searched; this is none."
        elif self._told(place, lambda: self._shelf.studios(run)) is None:
            why = (
                "The artists' own ledgers do not lie in this folder, so nobody here can tell who has "
                "withdrawn; `fedstyle search` can be told where they are."
            )
        status = 422 if problem else 200
        return self._page("search", status, place=place, why=why, problem=problem, matches=matches)

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            raise MissingError("no such file")
        path, media = _STATIC[name]
        # These change with the program alone.
        return FileResponse(path, media_type=media, headers={"Cache-Control": "private, max-age=3600"})

    # What pages are made of

    def _place(self, request: Request) -> Place:
        return self._shelf.run(request.path_params["run"])

    def _told(self, place: Place, read: Callable[[], _T]) -> _T:
        return read_safely(place.path, read)

    def _audited(self, place: Place) -> Audited:
        found = self._told(place, lambda: audit_of(place.run))
        if found is None:
            raise MissingError(f"{place.name}: no audit was run; `fedstyle audit` runs one")
        return found

    def _withdrawn(self, place: Place, audited: Audited) -> dict[str, str] | None:
        studios = self._shelf.studios(place.run)
        return None if studios is None else withdrawals(place.run, audited.about["artists"], studios)

    def _accounts(self, place: Place) -> list[Account]:
        studios = self._told(place, lambda: self._shelf.studios(place.run))
        run = place.run
        if not run.finished and (studios is None or not run.manifest_file.exists()):
            raise MissingError(
                f"{place.name}: not finished, and its manifest or its artists' ledgers are not in this folder"
            )
        return self._once(
            "ledgers",
            place,
            studios,
            lambda: self._told(place, lambda: accounts_in(place.run, studios)),
        )

    def _checked(self, place: Place, policy: Path) -> PolicyPage:
        studios = self._told(place, lambda: self._shelf.studios(place.run))
        return self._once(
            "policy",
            place,
            studios,
            lambda: self._told(place, lambda: policy_page(place.path, policy, studios)),
        )

    def _once(self, what: str, place: Place, studios: Path | None, make: Callable[[], _T]) -> _T:
        """What was made of the same files before, or is made now."""
        with self._busy:
            stamp = whole(place.path) + (whole(studios) if studios else "")
            if self._kept.get((what, place.key), ("",))[0] != stamp:
                self._kept[what, place.key] = stamp, make()
            found: _T = self._kept[what, place.key][1]
            return found

    # Answers

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        place = values.get("place")
        if place is None:
            return HTMLResponse(self._render.page(template, **values), status)
        # That a file holds something else than figures may show only where they are printed.
        return HTMLResponse(self._told(place, lambda: self._render.page(template, **values)), status)

    def _refused(self, request: Request, error: Exception) -> Response:
        missing = isinstance(error, MissingError)
        title = "Not here" if missing else "This cannot be shown"
        return self._page("problem", 404 if missing else 422, title=title, text=str(error))

    def _http(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        text = "There is no page at this address." if status == 404 else "This page is for reading."
        return self._page("problem", status, title="Not here", text=text)

    def _failed(self, request: Request, error: Exception) -> Response:
        print(f"fedstyle: {request.url.path!r}: {type(error).__name__}: {error}", file=sys.stderr)
        text = "This page could not be made; the terminal says what went wrong."
        return self._page("problem", 500, title="A mistake of this program", text=text)


def _number(text: str, length: int) -> int:
    """A place in a list, as a browser says it. Raises MissingError where there is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) >= length:
        raise MissingError(f"there is nothing at this place; the last one is {length - 1}")
    return int(text)
