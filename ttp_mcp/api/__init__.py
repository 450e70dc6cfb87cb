"""The REST client of the TimeToPost API."""

from ttp_mcp.api.analytics import PostMetrics, Recommendation
from ttp_mcp.api.auth import Me
from ttp_mcp.api.errors import (
    AccessRefused,
    ApiError,
    BadAnswer,
    EndpointMissing,
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
from ttp_mcp.api.http import Http, Limits, Permissions
from ttp_mcp.api.integrations import Board, CreatorInfo, Integration
from ttp_mcp.api.posts import AccountResult, Post, PostCreate

__all__ = [
    "AccessRefused",
    "AccountResult",
    "ApiError",
    "BadAnswer",
    "Board",
    "CreatorInfo",
    "EndpointMissing",
    "Forbidden",
    "Http",
    "Integration",
    "Limits",
    "Me",
    "NoAnswer",
    "NotAuthenticated",
    "NotFound",
    "NotReached",
    "Permissions",
    "Post",
    "PostCreate",
    "PostMetrics",
    "RateLimited",
    "Recommendation",
    "Redirected",
    "Rejected",
    "ServerError",
    "TokenMalformed",
    "TokenMissing",
    "UploadFailed",
    "UploadRefused",
    "ValidationFailed",
]
