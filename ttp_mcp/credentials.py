"""The API token, held so that it can't slip out, and the redaction that is the last step of every answer and log line."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Never

_TOKEN = re.compile(r"ttp_[0-9a-f]{48}")
_TOKEN_LIKE = re.compile(r"ttp(?:_|%5f)[0-9a-f]{6,}", re.IGNORECASE)
# Each value ends before a blank or a quotation mark; what is already `[redacted]` stays, so that twice is as once.
_SECRETS = re.compile(
    r"ttp(?:_|%5f)[0-9a-f]{6,}"
    # A bearer of good news is not one: real values are long.
    r"|(?P<bearer>Bearer\s+)(?!\[redacted\])[^\s\"'“”]{16,}"
    # Whoever stands before the host of a URL: user, password or a key.
    r"|(?P<user>://)(?!\[redacted\]@)[^\s/\"'<>“”]+(?=@)"
    r"|(?P<field>(?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)"
    r"|(?<=[?&;])(?:sig|signature|token)|(?<=\\u0026)(?:sig|signature|token)|(?<=%26)(?:sig|signature|token))"
    r"(?:=|%3D|\"?:\s*\"?))(?!\[redacted\])[^&\s\"'<>]+",
    re.IGNORECASE,
)


class TokenProblem(ValueError):
    """A token has the wrong form. The text names the rule and never the value."""


class Token:
    """An API token. Only `reveal` gives its text; everything else shows a fingerprint."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Check the form: `ttp_` and 48 hexadecimal digits; one line end at the end is forgiven.

        Raises:
            TokenProblem: The form is wrong.
        """
        text = text.removesuffix("\n").removesuffix("\r")
        if not _TOKEN.fullmatch(text):
            raise TokenProblem(_broken_rule(text))
        self._text = text

    def reveal(self) -> str:
        """The token itself, for the Authorization header."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """First 8 hexadecimal digits of the SHA-256: names a token without giving anything of it away."""
        return hashlib.sha256(self._text.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"Token({self.fingerprint})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a token is not copied or pickled")


def redact(text: str) -> str:
    """The same text without tokens, bearer values, and users and signatures of URLs. Applying it twice changes nothing."""
    return _SECRETS.sub(lambda found: f"{found['bearer'] or found['user'] or found['field'] or ''}[redacted]", text)


def redact_tokens(text: str) -> str:
    """The same text without tokens. Signed URLs stay: one that was asked for is of no use without its signature."""
    # Nearly no text has a beginning of one, and to look for that alone is nine times as fast.
    lowered = text.lower()
    return _TOKEN_LIKE.sub("[redacted]", text) if "ttp_" in lowered or "ttp%5f" in lowered else text


def token_in(arguments: Iterable[str]) -> bool:
    """Whether a token stands among command-line arguments, where every user of the machine can read it."""
    return any(_TOKEN.search(argument) for argument in arguments)


def _broken_rule(text: str) -> str:
    if not text.startswith("ttp_"):
        return "it must begin with ttp_."
    if len(text) != 52:
        return f"it must have 52 characters and has {len(text)}."
    return "after ttp_ it must hold only the digits 0–9 and a–f."
