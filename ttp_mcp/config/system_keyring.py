"""The system's keyring, through the optional package `keyring`. Nothing is loaded before a login needs it."""

import secrets
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "ttp-mcp"
# As users of each system know it.
_NAMES = {"darwin": "your macOS keychain", "win32": "the Windows Credential Manager"}


class KeyringProblem(Exception):
    """The keyring can't be used. `str()` is the cause and the next step."""


def name_keyring() -> str:
    """Return the keyring's name for a message."""
    return _NAMES.get(sys.platform, "the system's keyring")


def save(secret: str) -> str | None:
    """Save a secret under a new entry, and return the entry's name; None if no keyring takes it."""
    backend = _find_backend()
    if backend is None:
        return None
    entry = secrets.token_hex(8)
    try:
        backend.set_password(SERVICE, entry, secret)  # pyright: ignore[reportUnknownMemberType] - the package wraps it untyped
    except Exception:  # noqa: BLE001 - backends raise errors of their own; the file takes the token then
        return None
    return entry


def read(entry: str) -> str:
    """Return the secret of an entry.

    Raises:
        KeyringProblem: There is none that can be read.
    """
    backend = _find_backend()
    if backend is None:
        raise KeyringProblem("this installation lacks the extra `keyring`, or finds no keyring")
    try:
        secret = backend.get_password(SERVICE, entry)
    except Exception:  # noqa: BLE001 - as in `save`
        raise KeyringProblem("it is locked, or refused access") from None
    if secret is None:
        raise KeyringProblem("its entry is gone")
    return secret


def remove(entry: str | None) -> bool:
    """Remove an entry; False if it can't be removed."""
    if entry is None:
        return True
    backend = _find_backend()
    try:
        if backend is None or backend.get_password(SERVICE, entry) is None:
            return backend is not None
        backend.delete_password(SERVICE, entry)
    except Exception:  # noqa: BLE001 - as in `save`
        return False
    return True


def _find_backend() -> "KeyringBackend | None":
    """Return the system's keyring; None without the package, or if only a plain file would be used."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        backend = keyring.get_keyring()
        # Below 1 are those that refuse everything and those that write plain files.
        return backend if backend.priority >= 1 else None
    except Exception:  # noqa: BLE001 - a backend that is configured and isn't there, or can't start
        return None
