"""Ids in the form that the reference shows: 25 characters that begin with cmb8."""

import secrets
from collections.abc import Callable

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id(pick: Callable[[str], str] = secrets.choice) -> str:
    """A fresh id; `pick` chooses one of the characters."""
    return "cmb8" + "".join(pick(_DIGITS) for _ in range(21))
