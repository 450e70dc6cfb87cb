"""Answers in the documented shape, and the one exception that becomes one."""

from typing import Any

from starlette.responses import JSONResponse

JsonObject = dict[str, Any]


class Problem(Exception):
    """A request that is refused: becomes `{"success": false, "message": …}` with its status."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        """Keep status, message and further headers."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def ok(status: int = 200, **fields: Any) -> JSONResponse:
    """`{"success": true, …}`."""
    return JSONResponse({"success": True, **fields}, status)


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """`{"success": false, "message": …}`."""
    return JSONResponse({"success": False, "message": message}, status, headers)
