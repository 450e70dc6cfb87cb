"""The REST client of the TimeToPost API."""

from ttp_mcp.api.analytics import BestDay, BestHour, Recommendation
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import ApiClock, Clocks
from ttp_mcp.api.errors import (
    AccessRefused,
    ApiError,
    BadAnswer,
    Forbidden,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotReached,
    RateLimited,
    Redirected,
    Rejected,
    ServerError,
    TokenMalformed,
    TokenMissing,
    UploadFailed,
    UploadRefused,
    ValidationFailed,
)
from ttp_mcp.api.http import Http, Limits
from ttp_mcp.api.integrations import Integration
from ttp_mcp.api.media import PresignedUpload, PresignRequest, Uploaded
from ttp_mcp.api.permissions import Effect, Permissions
from ttp_mcp.api.posts import AccountResult, Post, PostCreate

__all__ = [
    "AccessRefused",
    "AccountResult",
    "ApiClient",
    "ApiClock",
    "ApiError",
    "BadAnswer",
    "BestDay",
    "BestHour",
    "Clocks",
    "Effect",
    "Forbidden",
    "Http",
    "Integration",
    "Limits",
    "NoAnswer",
    "NotAuthenticated",
    "NotFound",
    "NotReached",
    "Permissions",
    "Post",
    "PostCreate",
    "PresignRequest",
    "PresignedUpload",
    "RateLimited",
    "Recommendation",
    "Redirected",
    "Rejected",
    "ServerError",
    "TokenMalformed",
    "TokenMissing",
    "UploadFailed",
    "UploadRefused",
    "Uploaded",
    "ValidationFailed",
]
