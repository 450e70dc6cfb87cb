"""One sandbox: its data, its clock, its applications and its worker."""

import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import anyio
from starlette.types import ASGIApp

from ttp_mcp.sandbox.clock import Clock, StoredClock
from ttp_mcp.sandbox.page import routes
from ttp_mcp.sandbox.page.routes import StaticPage
from ttp_mcp.sandbox.rest import tokens
from ttp_mcp.sandbox.rest.app import create_api
from ttp_mcp.sandbox.scheduler import Scheduler
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store
from ttp_mcp.sandbox.workspace import demo

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0


class Sandbox:
    """The REST API over a folder, for rehearsals and for your own tests.

        with Sandbox(clock=ManualClock(datetime(2026, 12, 1, 9, tzinfo=UTC))) as sandbox:
            api = ApiClient(base_url=sandbox.api_url, token=Token(sandbox.token), app=sandbox.app)
            ...
            sandbox.clock.move(3600)
            sandbox.tick()

    Any number may be open at once, with one folder each or a shared one, in one process or in several.

    Attributes:
        folder: Where the data are.
        clock: The clock that was given, or `stored_clock`.
        stored_clock: The clock of the folder, shared by all processes; `ttp-mcp sandbox clock` moves it.
        store: The data (SQLite).
        app: The API below `/api`, and the page beside it, as an ASGI application.
        storage_app: The media storage, which is another origin, as an ASGI application.
        api_url: Base URL of the API.
        page_url: Address of the page.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        clock: Clock | None = None,
        empty: bool = False,
        workspace: Path | None = None,
        label: str = "sandbox",
        api_origin: str = "http://sandbox.localhost",
        storage_origin: str = "http://media.sandbox.localhost",
        faults_by_header: bool = False,
        pages: Mapping[str, StaticPage] = MappingProxyType({}),
    ) -> None:
        """Open, and fill a new folder: with the demo workspace, or as `empty` or `workspace` say.

        Args:
            folder: Where the data are; a temporary one, removed by `close`, when omitted.
            clock: The clock; by default the stored one.
            empty: Leave a new folder with one organization and no accounts or posts.
            workspace: A file of `ttp-mcp sandbox export` for a new folder; its times move along to
                `clock`, if one is given.
            label: Name of the token that is created for this instance.
            api_origin: Where `app` is reachable.
            storage_origin: Where `storage_app` is reachable.
            faults_by_header: Let a request ask for a fault: `x-sandbox-fault: reset-after`.
            pages: Further pages beside the sandbox's own, by their paths.

        Raises:
            StoreProblem: The folder holds data that can't be used.
            WorkspaceProblem: The file of the workspace can't be used.
        """
        self._temporary = Path(tempfile.mkdtemp(prefix="ttp-mcp-")) if folder is None else None
        self.folder = self._temporary or Path(folder or ".")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "media").mkdir(exist_ok=True, mode=0o700)
        self.store = Store(self.folder / "sandbox.db")
        self.stored_clock = StoredClock(self.store)
        self.clock: Clock = clock or self.stored_clock
        self.storage = MediaStorage(self.folder / "media", storage_origin, self.store, self.clock)
        try:
            self._fill_if_new(clock, empty=empty, workspace=workspace)
        except BaseException:
            self.close()
            raise
        origin = api_origin.rstrip("/")
        self.api_url = f"{origin}/api"
        self.page_url = f"{origin}/"
        self.scheduler = Scheduler(self.store, self.clock)
        beside = routes.create_routes(self.store, self.clock, self.storage, origin, pages)
        self.app: ASGIApp = create_api(self.store, self.clock, self.storage, beside, faults_by_header=faults_by_header)
        self.storage_app: ASGIApp = self.storage.app()
        self._label = label

    @cached_property
    def token(self) -> str:
        """Token of this instance, created on first access and deleted by `close`."""
        return tokens.create_token(self.store, self.clock, label=self._label)

    def _fill_if_new(self, clock: Clock | None, *, empty: bool, workspace: Path | None) -> None:
        if workspace is None:
            demo.fill_if_new(self.store, self.clock, self.storage, empty=empty)
            return
        # Imported here: the models of the file are needed for nothing else.
        from ttp_mcp.sandbox.workspace.file import read_workspace
        from ttp_mcp.sandbox.workspace.restore import restore_workspace

        found = read_workspace(workspace)
        with self.store.writing():
            if demo.is_new(self.store):
                restore_workspace(self.store, self.storage, found, at=clock.now() if clock else None)

    def tick(self) -> int:
        """Publish due posts. Returns the number of finished posts."""
        return self.scheduler.tick()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Sandbox"]:
        """Publish in the background, about once a second, until the block ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    async def _work(self) -> None:
        while True:
            try:
                await anyio.to_thread.run_sync(self.tick)
            except Exception:
                # A full disk or a locked file must not end the worker: due posts stay due.
                log.exception("The sandbox could not publish; it tries again.")
            await anyio.sleep(TICK_SECONDS)

    def export(self) -> str:
        """Return the workspace as JSON, as `ttp-mcp sandbox export` writes it and `workspace=` takes it."""
        from ttp_mcp.sandbox.workspace.export import export_workspace

        return export_workspace(self.store, self.storage, self.clock).to_text()

    def close(self) -> None:
        """Delete the token of this instance, close the data, and remove a temporary folder."""
        if "token" in self.__dict__:
            tokens.delete_token(self.store, self.token)
        self.store.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
