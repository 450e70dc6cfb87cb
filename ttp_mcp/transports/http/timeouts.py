"""uvicorn's HTTP/1.1 protocol with two timeouts that it lacks: for headers and for a body."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0


class TimedProtocol(H11Protocol):
    """Closes a connection whose request doesn't arrive in time, so that half a request can't occupy it forever."""

    header_seconds = HEADER_SECONDS
    body_seconds = BODY_SECONDS
    _clock: asyncio.TimerHandle | None = None
    _state: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn's own
        """Start the timeout of the first request."""
        super().connection_made(transport)
        self._update_timeout()

    def data_received(self, data: bytes) -> None:
        """Update the timeout to the state of the request."""
        super().data_received(data)
        self._update_timeout()

    def on_response_complete(self) -> None:
        """Start the timeout of a request that arrived in part while this one was answered."""
        super().on_response_complete()
        if self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY:
            self._update_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        self._stop_timeout()
        super().connection_lost(exc)

    def _update_timeout(self) -> None:
        """Start the timeout of the part that is arriving; one that is still arriving keeps its own."""
        state = self._arriving_part()
        if state is self._state:
            return
        self._stop_timeout()
        limits: dict[object, float] = {h11.IDLE: self.header_seconds, h11.SEND_BODY: self.body_seconds}
        seconds = limits.get(state)
        if seconds is not None:
            self._state = state
            self._clock = self.loop.call_later(seconds, self.transport.close)

    def _stop_timeout(self) -> None:
        self._state = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _arriving_part(self) -> object:
        return self.conn.their_state
