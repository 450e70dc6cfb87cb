"""The API token, which no code prints by accident, and redaction: the last step of every answer and log line."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Never

_TOKEN = re.compile(r"ttp_[0-9a-f]{48}")
_TOKEN_LIKE = re.compile(r"ttp(?:_|%5f)[0-9a-f]{6,}", re.IGNORECASE)
# Each value ends before whitespace or a quotation mark; `[redacted]` itself never matches, so redaction is idempotent.
_SECRETS = re.compile(
    r"ttp(?:_|%5f)[0-9a-f]{6,}"
    # Skip prose such as "bearer of good news": real values have at least 16 characters.
    r"|(?P<bearer>Bearer\s+)(?!\[redacted\])[^\s\"'“”«»]{16,}"
    # User, password or key before the host of a URL.
    r"|(?P<user>://)(?!\[redacted\]@)[^\s/\"'<>“”«»]+(?=@)"
    # Parameters of a signed URL, also URL-encoded once or twice within another URL.
    r"|(?P<field>(?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)"
    r"|(?:[?&;]|\\u0026|%(?:25)?(?:3F|26))[\w-]*(?:signature|token|sig|api_key))"
    r"(?:=|%(?:25)?3D|\"?:\s*\"?)(?!Bearer\s+\[redacted\])(?:Bearer\s+)?)(?!\[redacted\])[^&\s\"'<>«»]+",
    re.IGNORECASE,
)

# Text around a pasted token: a line of an .env file, a header, quotation marks, a byte order mark.
_WRAPPING = re.compile(
    r"\A(?:[\s\"'“‘\ufeff]+|(?:export|set)\s|\$env:|(?:TTP|TIMETOPOST)_API_TOKEN\s*=|Authorization:|Bearer\s)|[\s\"'”’]+\Z",
    re.IGNORECASE,
)


class TokenProblem(ValueError):
    """A token has the wrong form. `str()` names the rule and never the value."""


class Token:
    """An API token. Only `reveal` returns its text; everything else shows a fingerprint."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Check the form: `ttp_` and 48 hexadecimal digits; one trailing line break is ignored.

        Raises:
            TokenProblem: The form is wrong.
        """
        text = text.removesuffix("\n").removesuffix("\r")
        if not _TOKEN.fullmatch(text):
            raise TokenProblem(_broken_rule(text))
        self._text = text

    def reveal(self) -> str:
        """Return the token itself, for the Authorization header."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """First 8 hexadecimal digits of the SHA-256, which identify a token without revealing any of it."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a token can't be copied or pickled")


def parse_token(text: str) -> Token:
    """Parse a pasted token: also in quotation marks, after `Bearer` or `TTP_API_TOKEN=`, or with a byte order mark.

    Raises:
        TokenProblem: The rest has the wrong form.
    """
    while (inner := _WRAPPING.sub("", text)) != text:
        text = inner
    return Token(text)


def redact(text: str) -> str:
    """Remove tokens, bearer values, and the users and signatures of URLs. Idempotent."""
    # A removal can join its neighbours into a new secret, or make one long enough to be recognized.
    while (after := _SECRETS.sub(_mark_redacted, text)) != text:
        text = after
    return after


def _mark_redacted(found: re.Match[str]) -> str:
    return f"{found['bearer'] or found['user'] or found['field'] or ''}[redacted]"


def redact_tokens(text: str) -> str:
    """Remove tokens only. A signed URL that the caller requested is useless without its signature."""
    return _TOKEN_LIKE.sub("[redacted]", text) if may_hold_token(text.encode(errors="replace")) else text


def may_hold_token(encoded: bytes) -> bool:
    """Check, much faster than `redact_tokens`, whether UTF-8 text or JSON can hold a token."""
    lowered = encoded.lower()
    return b"ttp_" in lowered or b"ttp%5f" in lowered


def has_token(arguments: Iterable[str]) -> bool:
    """Check for a token in command-line arguments, where every user of the machine can read it."""
    return any(_TOKEN.search(argument) for argument in arguments)


def _broken_rule(text: str) -> str:
    if not text.startswith("ttp_"):
        return "it must begin with ttp_."
    if len(text) != 52:
        return f"it must have 52 characters and has {len(text)}."
    return "after ttp_ it must have only the digits 0–9 and a–f."
