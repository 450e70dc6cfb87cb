"""Sessions whose first messages are recorded and replayed, in this process."""

import json
from pathlib import Path

import anyio

from tests.support.windows import WINDOWS
from tests.transports.stdio.stdio_fixture import INITIALIZE, INITIALIZED, make_tool_call, to_line
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.transport import serve_stdio

META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def make_request(number, method, /, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def make_opening(era, first=1):
    """The messages with which a client of an era opens a session."""
    params = META if era == "modern" else {}
    begin = (
        [make_request(0, "server/discover", **META)]
        if era == "modern"
        else [INITIALIZE, INITIALIZED, make_request(0, "ping")]
    )
    return begin + [make_request(number, method, **params) for number, method in enumerate(LISTS, first)]


def make_call(era, number, name, /, **arguments):
    """A tool call in the form of an era."""
    message = make_tool_call(number, name, **arguments)
    return message if era == "legacy" else {**message, "params": message["params"] | META}


def change_client(messages):
    """The same messages from a client with another name."""
    return [json.loads(json.dumps(message).replace('"peer"', '"other"')) for message in messages]


class Session:
    """What one session answered, and whether it needed the real server."""

    def __init__(self, output, is_real):
        self.lines = output.splitlines()
        self.answers = [json.loads(each) for each in self.lines]
        self.is_real = is_real

    def of(self, number):
        (found,) = [answer for answer in self.answers if answer.get("id") == number]
        return found


async def serve_session(
    server, messages, folder: Path, handshake: Handshake | None, *, threads: bool = WINDOWS
) -> Session:
    """Serve one session whose input is given as messages or as bytes. Files serve as pipes that hold everything."""
    data = messages if isinstance(messages, bytes) else b"".join(map(to_line, messages))
    (folder / "input").write_bytes(data)
    with (folder / "input").open("rb") as given, (folder / "output").open("w+b") as taken:
        descriptors = {"input_fd": given.fileno(), "output_fd": taken.fileno(), "threads": threads}
        is_real = handshake is None or not handshake.can_replay or handshake.replay(**descriptors)
        if is_real:
            with anyio.fail_after(20):
                await serve_stdio(server, handshake=handshake, **descriptors)
        taken.seek(0)
        return Session(taken.read(), is_real)


def record_answer(handshake: Handshake) -> None:
    """Give an empty record its first answer."""
    assert not handshake.can_replay
    assert handshake.observe(to_line(make_request(1, "ping")))
    handshake.is_answered(1, {})


def read_answers(path: Path) -> set[bytes]:
    """Return the answers of a record with their names, without the digest before them."""
    return {*path.read_bytes().splitlines()[1:]}
