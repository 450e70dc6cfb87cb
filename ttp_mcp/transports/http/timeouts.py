"""HTTP/1.1 on a socket as uvicorn speaks it, and with two clocks that it does not have: for headers and for a body."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
BODY_SECONDS = 30.0


class TimedProtocol(H11Protocol):
    """Closes a connection whose request does not arrive in time, so that half a request can't hold a place for ever."""

    header_seconds = HEADER_SECONDS
    body_seconds = BODY_SECONDS
    _clock: asyncio.TimerHandle | None = None
    _state: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn's own
        """A first request is due."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """See how far the request is."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """A further request may have begun while this one was answered."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the clock of the part that is arriving; a part that goes on keeps the time it began with."""
        state = self._arriving()
        if state is self._state:
            return
        self._stop()
        limits: dict[object, float] = {h11.IDLE: self.header_seconds, h11.SEND_BODY: self.body_seconds}
        seconds = limits.get(state)
        if seconds is not None:
            self._state = state
            self._clock = self.loop.call_later(seconds, self.transport.close)

    def _stop(self) -> None:
        self._state = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _arriving(self) -> object:
        return self.conn.their_state
