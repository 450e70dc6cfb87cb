"""The API token, held so that it can't slip out, and the redaction that is the last step of every answer and log line."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
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
    # Parameters of a signed URL, also of one that is encoded once or twice within another.
    r"|(?P<field>(?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)"
    r"|(?:[?&;]|\\u0026|%(?:25)?(?:3F|26))[\w-]*(?:signature|token|sig|api_key))"
    r"(?:=|%(?:25)?3D|\"?:\s*\"?)(?!Bearer\s+\[redacted\])(?:Bearer\s+)?)(?!\[redacted\])[^&\s\"'<>]+",
    re.IGNORECASE,
)

# A piece of a token that is as long as this can't be there by chance.
PIECE = 12
MOST_TOKENS = 500
_RUN = re.compile(f"[0-9a-f]{{{PIECE},}}", re.IGNORECASE)
_RUN_OF_BYTES = re.compile(_RUN.pattern.encode(), re.IGNORECASE)
# Bytes by what they can be of a token: a digit, a letter of `ttp`, what follows it; all else is blank. So nearly every text is
# found to hold none by two searches for a few bytes.
_SHAPE = bytes.maketrans(
    bytes(range(256)),
    b"".join(
        {"t": b"t", "p": b"p", "_": b"_", "%": b"_"}.get(char, b"0" if char in "0123456789abcdef" else b" ")
        for char in (chr(byte).lower() for byte in range(256))
    ),
)
_BEGINNING, _DIGITS = b"ttp_", b"0" * PIECE
# The pieces of this process's latest tokens, as many as there can be users at once, the latest last. Redaction is a last step
# without surroundings (a log handler, an exception hook), so it can be told of tokens here alone. Kept are Python's hashes, which
# are keyed anew in each process and hold no digit; a set of them is asked once, however many tokens there are.
_known_pieces: dict[int, None] = {}


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
        _know(text.removeprefix("ttp_"))

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
    """The same text without tokens and their pieces, bearer values, and users and signatures of URLs.

    Applying it twice changes nothing.
    """
    # Until nothing changes: what is taken out can bring together, or make long enough, what was none before.
    while (after := _redacted_once(text)) != text:
        text = after
    return after


def _redacted_once(text: str) -> str:
    text = _SECRETS.sub(lambda found: f"{found['bearer'] or found['user'] or found['field'] or ''}[redacted]", text)
    return _without_pieces(text)


def redact_tokens(text: str) -> str:
    """The same text without tokens and their pieces. Signed URLs stay: one that was asked for is of no use without its signature."""
    if not may_hold_token(text.encode(errors="replace")):
        return text
    return _without_pieces(_TOKEN_LIKE.sub("[redacted]", text))


def may_hold_token(encoded: bytes) -> bool:
    """Whether a text in UTF-8, or JSON, has anything that `redact_tokens` takes out; many times as fast as that."""
    shape = encoded.translate(_SHAPE)
    return _BEGINNING in shape or _has_piece(encoded, shape)


def _without_pieces(text: str) -> str:
    """The text without runs of hexadecimal digits that hold a piece of a token; the whole run goes with it."""
    encoded = text.encode(errors="replace")
    return _RUN.sub(_unless_secret, text) if _has_piece(encoded, encoded.translate(_SHAPE)) else text


def _has_piece(encoded: bytes, shape: bytes) -> bool:
    start = shape.find(_DIGITS)
    while start >= 0 and (run := _RUN_OF_BYTES.match(encoded, start)):
        if _is_secret(run[0].decode()):
            return True
        start = shape.find(_DIGITS, run.end())
    return False


def _is_secret(run: str) -> bool:
    return not _known_pieces.keys().isdisjoint(_pieces(run.lower()))


def _unless_secret(found: re.Match[str]) -> str:
    return "[redacted]" if _is_secret(found[0]) else found[0]


def _know(digits: str) -> None:
    for piece in _pieces(digits):
        _known_pieces.pop(piece, None)
        _known_pieces[piece] = None
    while len(_known_pieces) > MOST_TOKENS * (48 - PIECE + 1):
        del _known_pieces[next(iter(_known_pieces))]


def _pieces(digits: str) -> Iterator[int]:
    return (hash(digits[at : at + PIECE]) for at in range(len(digits) - PIECE + 1))


def token_in(arguments: Iterable[str]) -> bool:
    """Whether a token stands among command-line arguments, where every user of the machine can read it."""
    return any(_TOKEN.search(argument) for argument in arguments)


def _broken_rule(text: str) -> str:
    if not text.startswith("ttp_"):
        return "it must begin with ttp_."
    if len(text) != 52:
        return f"it must have 52 characters and has {len(text)}."
    return "after ttp_ it must hold only the digits 0–9 and a–f."
