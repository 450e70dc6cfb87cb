"""Signals that a test delivers itself."""

from contextlib import contextmanager


def catch_signals(monkeypatch, module):
    """Take the signals of a module's `handle_signals` over; return a function that delivers one by its number."""
    handlers = []

    @contextmanager
    def handle_events(handle):
        handlers.append(handle)
        yield

    monkeypatch.setattr(module, "handle_signals", handle_events)
    return lambda number: handlers[-1](number)
