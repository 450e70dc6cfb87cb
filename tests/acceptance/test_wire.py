"""Rows A2 and A3, stdio: broken and oversized lines. Each test prints its counts and its seed."""

import json
import os
import random

import psutil
import pytest

from tests.transports.stdio.stdio_fixture import make_tool_call, read_text, start_process, to_line

pytestmark = pytest.mark.acceptance

FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
SEED = int(os.environ.get("TTP_SEED", "20261124"))
MIB = 1024 * 1024

VALID = [
    {"jsonrpc": "2.0", "id": 1, "method": "ping"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
    {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hé\u200d"}}},
    {"jsonrpc": "2.0", "id": 4, "method": "resources/read", "params": {"uri": "file:///etc/passwd"}},
    {"jsonrpc": "2.0", "id": 5, "method": "prompts/get", "params": {"name": "x", "arguments": {"a": "b"}}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3, "reason": "x"}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}},
    {"jsonrpc": "2.0", "id": 6, "result": {"action": "accept", "content": {"yes": True}}},
    {"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": "no"}},
    {"jsonrpc": "2.0", "id": 8, "method": "initialize", "params": {"protocolVersion": "2026-07-28"}},
]
ODD = [
    "null", "NaN", "-Infinity", "1e999", '"\\ud800"', '"\\u0000"', "9" * 400, "-0", "[]", "{}", "true", '""', "[" * 150 + "]" * 150,
    '{"a":' * 150 + "1" + "}" * 150, '"' + "a" * 5000 + '"', "9" * 5000,
]  # fmt: skip


def flip_bits(chance, text):
    """Flip one to eight bits."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def replace_value(chance, text):
    """Replace one value of the message with an odd one."""
    message = json.loads(text)
    holder = message
    while True:
        key = chance.choice(list(holder))
        if not isinstance(holder[key], dict) or not holder[key] or chance.random() < 0.3:
            break
        holder = holder[key]
    holder[key] = "\x01here\x01"
    return json.dumps(message).replace('"\\u0001here\\u0001"', chance.choice(ODD)).encode()


def truncate_message(chance, text):
    """Truncate the message."""
    return text[: chance.randrange(len(text))]


def double_message(chance, text):
    """Put two messages in one line, or one in a list."""
    return chance.choice([text + text, b"[" + text + b"]", text + b"," + text, b"\xef\xbb\xbf" + text])


def make_noise(chance, text):
    """Return random bytes."""
    return chance.randbytes(chance.randint(1, 300))


def nest_brackets(chance, text):
    """Return brackets as deep as the line is long."""
    return chance.choice([b"[", b'{"a":', b'{"jsonrpc":"2.0","id":1,"method":"ping","params":']) * chance.randint(
        1, 5000
    )


def mutate_message(chance):
    """Apply one mutation to a valid message; the result contains no other line end."""
    text = json.dumps(chance.choice(VALID)).encode()
    mutation = chance.choice([flip_bits, replace_value, truncate_message, double_message, make_noise, nest_brackets])
    return mutation(chance, text).replace(b"\n", b" ") + b"\n"


@pytest.mark.requirement("acceptance.a2")
def test_server_survives_ten_thousand_mutated_lines(tmp_path):
    """No line ends the process, floods stderr or blocks the next call."""
    lines = 10_000
    chance = random.Random(SEED)
    log = tmp_path / "stderr"
    with log.open("wb") as stderr, start_process(tmp_path / "o", stderr=stderr) as peer:
        for sent in range(0, lines, 100):
            peer.send(
                *[mutate_message(chance) for _ in range(100)], make_tool_call(f"after {sent}", "echo", text=str(sent))
            )
            assert read_text(peer.answer(f"after {sent}")) == str(sent)
        assert peer.process.poll() is None
        peer.process.stdin.close()
        assert peer.wait() == 0
        refused = len(peer.errors)
    written = log.read_bytes()
    print(  # noqa: T201 - each row prints its counts
        f"\nA2: {lines} lines, seed {SEED}, {refused} answered without an id, {len(written)} bytes of stderr, exit 0"
    )
    assert len(written) < MIB
    assert refused > lines / 4


def send_long_line(peer, size):
    """Send a call of `size` bytes in pieces and return how much the server's memory grew."""
    server = psutil.Process(peer.process.pid)
    before = server.memory_info().rss
    most = before
    head, tail = to_line(make_tool_call("long", "echo", text="@")).split(b"@")
    peer.send(head)
    for _ in range(size // MIB):
        peer.send(b"x" * MIB)
        most = max(most, server.memory_info().rss)
    peer.send(tail)
    return before, most


@pytest.mark.requirement("acceptance.a3-stdio")
def test_line_of_200_mib_is_refused_in_bounded_memory(tmp_path):
    """The next call is answered."""
    size = 200 * MIB
    with start_process(tmp_path / "o", stderr=None) as peer:
        before, most = send_long_line(peer, size)
        peer.send(make_tool_call(1, "read"))
        assert read_text(peer.answer(1)) == "read"
        most = max(most, psutil.Process(peer.process.pid).memory_info().rss)
        (refusal,) = peer.errors
    print(f"\nA3 stdio: {size // MIB} MiB in a line, growth {(most - before) / MIB:.1f} MiB")  # noqa: T201
    assert refusal["error"]["code"] == -32600
    assert most - before < 32 * MIB


@pytest.mark.requirement("acceptance.a3-stdio")
def test_a3_fails_without_the_line_cap(tmp_path):
    """With a cap above the line, memory grows beyond the row's limit."""
    size = 80 * MIB
    with start_process(tmp_path / "o", "--line-bytes", str(1024 * MIB), stderr=None) as peer:
        before, _ = send_long_line(peer, size)
        peer.answer("long")
        most = psutil.Process(peer.process.pid).memory_info().rss
    print(f"\nA3 stdio without the cap: {size // MIB} MiB in a line, growth {(most - before) / MIB:.1f} MiB")  # noqa: T201
    assert most - before > 32 * MIB
