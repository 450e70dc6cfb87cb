"""A lock that reports when a thread has to wait for it."""

import threading
from types import SimpleNamespace, TracebackType


class WatchedLock:
    """A lock, also for the thread that holds it, which sets an event before a thread waits for it."""

    def __init__(self, waited: threading.Event) -> None:
        self._lock = threading.RLock()
        self._waited = waited

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire it as a lock of `threading`."""
        if self._lock.acquire(blocking=False):
            return True
        self._waited.set()
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Release it."""
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def watch_locks(waited: threading.Event) -> SimpleNamespace:
    """Return the module `threading` with such locks, for one module of ours."""

    def make_lock() -> WatchedLock:
        return WatchedLock(waited)

    return SimpleNamespace(**{**vars(threading), "Lock": make_lock, "RLock": make_lock})
