"""Ids in the documented form: 25 characters that start with cmb8."""

import secrets
from collections.abc import Callable

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id(pick: Callable[[str], str] = secrets.choice) -> str:
    """Create an id; `pick` chooses each character."""
    return "cmb8" + "".join(pick(_DIGITS) for _ in range(21))
