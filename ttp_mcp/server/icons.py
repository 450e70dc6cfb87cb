"""Icons of the server and of its tools, one for each toolset.

They are data, in the smallest format that clients take: no client fetches an address for a local server, and every tool repeats
its icon (docs/decisions/0016-icons.md).
"""

import mcp_types as types

# 64x64, from mcpb/icon.png.
_SERVER_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABABAMAAABYR2ztAAAAMFBMVEUZWZb6+/wAAAAXWJlejbAFeX6XtcsQZH4aVZwAJ39Cd6Oqw9YAP78ZWJ"
    "oVaXwAAP/qiYYSAAAAEHRSTlP9/wAP/wb/9VED//8EjVUBHNH2sQAAAp5JREFUeNqFlT9oE1EYwH/v3qVpg8FLKUURIaQ4aU1IwQ6CpIObYnGr"
    "IJ6CQ0Who4ggCApKhyzWdrGng3MRoYOFZBFcStNFkFrooCCl0LShsWl6jcO7K5fcu/im773vd9+/9933RAZA5JfpXCPrVQCRAUSLkY2jDmAbqw"
    "qYgHQvPc6FLCSfzuUqyoL18B669eJdC0QGyVq8oSXydhEDhr/EJ7V6vr8FA/EzPVnUA/sTFiKTO1rUOwBkxjWQ6ckoPa6FKX98ijQA1y3So/Fo"
    "PXKX/MZUF6B3iJueGNdyyQsGnsIdSwXWmYI6rbni3BoAU+9Dd6WK6VmIr3YaH/DDTC0CuDudQGsfgNOm2grvOHaRswtKtKoAGCoFL6aJzaWl+T"
    "dK9j5VgJeKnMEscEs1TzwINGwAtribXB2kBEC9zYKKi7GFhNMcoBo4DAK5ngp747i21AOJ8mUlfD50tECLilf1oI8AUO/xJdvWAuNNX1qIaYGN"
    "Y8+JI30WDoAEDiLSBOBwr30fBGxAFA6K9OiBtA2wxh3qhhZQsdcHzUA+7ZVUsTWTOPpKCrwhIbH0lSx8VcI1U19JKgc5AOm4EWkKSuMQ2wp68A"
    "HHa/X5WnaTMRVzG6AmiPuAwzIf1a17/7wYWgcQVqjtW1WAvOk3i1rNZfyRWm0PMjQn+zqyKHUCLzvTrDlBdSzr18o87oMbKSDx29tuRjTM1dCM"
    "aQek8x9gOjyljLaf09YAw4HQq2H9X8P/34KRB8aglH2tsrc5Udc46CObo9valf2HW130z3uNxvluBq7YMnUq/id62JeEwep+tIFn/cgUj0bLUY"
    "/Brz1kipWV7Qjg4v1vGNA4OavXv9opqsuqvZ6taIo4PZcNPO6pEBB43GmJD7dDwJOZKsA/9VGxXq4P88oAAAAASUVORK5CYII="
)
# 16x16, in two colours, without loss.
_TOOLSET_WEBP = {
    "posts": "UklGRjAAAABXRUJQVlA4TCQAAAAvD8ADAIWatpEYosefxm3tyz7BM9R/IUEizSl4AJGSHu2gIzA=",
    "integrations": "UklGRjgAAABXRUJQVlA4TCwAAAAvD8ADAFUoaNvIIXr8adzPWxCaCZ6h/k+AXejcMWCApMANge8wvSPco96BTg==",
    "analytics": "UklGRioAAABXRUJQVlA4TB4AAAAvD8ADAAVhtpHo+Wv0vxOY4Bnq/wTsMoAjAEcAYnE=",
    "media": "UklGRjgAAABXRUJQVlA4TCwAAAAvD8ADAFUoaNvIIXr8aaz/vwUhP8Ez1P8JkBcq6a7/zMDUPQcFgBTPW7ZnOw==",
    "plans": "UklGRjgAAABXRUJQVlA4TCsAAAAvD8ADAFUoaNvIIXr8afyeEHwTPEP9n4D4asHALdu/5HKDTF4sN3i0e+c1AA==",
    "setup": "UklGRjoAAABXRUJQVlA4TC4AAAAvD8ADAFUwaBvJEdHjT+N7fwTOBM9Q/ydg/OkJF1xBp9EuG3Sk0LHdzm46T/8J",
}


def server_icons() -> list[types.Icon]:
    """Return the server's icon."""
    return [types.Icon(src=f"data:image/png;base64,{_SERVER_PNG}", mime_type="image/png", sizes=["64x64"])]


def tool_icons(toolset: str) -> list[types.Icon]:
    """Return the icon of a toolset's tools."""
    return [types.Icon(src=f"data:image/webp;base64,{_TOOLSET_WEBP[toolset]}", mime_type="image/webp")]
