"""Wire models and endpoints of /media."""

from dataclasses import dataclass

from ttp_mcp.api import errors
from ttp_mcp.api.http import Http
from ttp_mcp.api.wire import an_object, number, text


@dataclass(frozen=True, slots=True)
class PresignRequest:
    """A file that is to be uploaded; `size` is exact, in bytes."""

    filename: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class PresignedUpload:
    """Where to PUT the bytes. `upload_url` is a secret; `public_url` is what posts refer to."""

    key: str
    upload_url: str
    public_url: str
    expires_in_seconds: int

    def __repr__(self) -> str:
        return f"PresignedUpload(key={self.key!r})"


class MediaApi:
    """Endpoints of media."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._http = http

    async def presign(self, wanted: PresignRequest) -> PresignedUpload:
        """`POST /media/presign`: a short-lived URL for one upload.

        Raises:
            ValidationFailed: The type or the size is not accepted.

        Source: API reference, Media uploads.
        """
        body = {"filename": wanted.filename, "contentType": wanted.content_type, "size": wanted.size}
        reply = an_object(await self._http.request("POST", "/media/presign", "/media/presign", need="draft", body=body))
        reply = an_object(reply.get("data")) if "uploadUrl" not in reply else reply
        upload_url, public_url = text(reply.get("uploadUrl")), text(reply.get("publicUrl"))
        if upload_url is None or public_url is None:
            raise errors.BadAnswer(method="POST", path="/media/presign", reason="shape")
        return PresignedUpload(
            key=text(reply.get("key")) or "",
            upload_url=upload_url,
            public_url=public_url,
            expires_in_seconds=int(number(reply.get("expiresIn")) or 300),
        )
