"""One sandbox: its data, its clock, its applications and its worker."""

import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from starlette.types import ASGIApp

from ttp_mcp.sandbox import page, seed, tokens
from ttp_mcp.sandbox.app import create_api
from ttp_mcp.sandbox.clock import Clock, StoredClock
from ttp_mcp.sandbox.media import Storage
from ttp_mcp.sandbox.scheduler import Scheduler
from ttp_mcp.sandbox.store import Store

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0


class Sandbox:
    """The REST API over a folder. Several may share one folder, in one process or in many."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        clock: Clock | None = None,
        empty: bool = False,
        label: str = "sandbox",
        api_origin: str = "http://sandbox.localhost",
        storage_origin: str = "http://media.sandbox.localhost",
    ) -> None:
        """Open, and fill a new folder with the demo workspace.

        Args:
            folder: Where the data are; a temporary one, removed by `close`, when omitted.
            clock: The present; by default the machine's, as moved with `ttp-mcp sandbox clock`.
            empty: Leave a new folder with one organization and no accounts or posts.
            label: Name of the token that is made for this opening.
            api_origin: Where `app` is reachable.
            storage_origin: Where `storage_app` is reachable.

        Raises:
            StoreProblem: The folder holds data that can't be used.
        """
        self._temporary = Path(tempfile.mkdtemp(prefix="ttp-mcp-")) if folder is None else None
        self.folder = self._temporary or Path(folder or ".")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "media").mkdir(exist_ok=True)
        self.store = Store(self.folder / "sandbox.db")
        self.stored_clock = StoredClock(self.store)
        self.clock: Clock = clock or self.stored_clock
        self.storage = Storage(self.folder / "media", storage_origin, self.store, self.clock)
        seed.fill_when_new(self.store, self.clock, self.storage, empty=empty)
        self.api_url = f"{api_origin.rstrip('/')}/api"
        self.token = tokens.create(self.store, self.clock, label=label)
        self.scheduler = Scheduler(self.store, self.clock)
        self.app: ASGIApp = create_api(
            self.store, self.clock, self.storage, page.routes(self.store, self.clock, self.storage, api_origin)
        )
        self.storage_app: ASGIApp = self.storage.app()

    def tick(self) -> int:
        """Publish what is due now; returns how many posts were finished."""
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
                # A full disk or a locked file must not end the worker: what is due stays due.
                log.exception("The sandbox could not publish; it tries again.")
            await anyio.sleep(TICK_SECONDS)

    def close(self) -> None:
        """Forget this opening's token and close the data; a temporary folder is removed."""
        tokens.forget(self.store, self.token)
        self.store.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
