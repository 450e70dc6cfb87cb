"""Responses in the documented shape, and the exception that becomes one."""

import re
from typing import Any

from starlette.responses import JSONResponse

JsonObject = dict[str, Any]

# A visible character: neither a control character nor a Unicode space.
VISIBLE = re.compile(r"[^\x00- \x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]")


class Problem(Exception):
    """Raised to refuse a request; becomes `{"success": false, "message": …}` with its status."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        """Keep status, message and further headers."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def respond_ok(status: int = 200, **fields: Any) -> JSONResponse:
    """Return `{"success": true, …}`."""
    return JSONResponse({"success": True, **fields}, status)


def respond_error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return `{"success": false, "message": …}`."""
    return JSONResponse({"success": False, "message": message}, status, headers)
