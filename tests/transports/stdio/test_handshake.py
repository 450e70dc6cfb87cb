"""The replayed handshake: the same responses as without it, and the real server for everything unusual."""

import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import anyio
import pytest

from tests.support.windows import (
    WINDOWS,
    has_mode,
    needs_fifos,
    needs_links,
    needs_modes,
    needs_root,
    skip_on_windows,
    waits_for_pipes,
)
from tests.transports.stdio.handshake_fixture import (
    META,
    Session,
    change_client,
    make_call,
    make_opening,
    make_request,
    serve_session,
)
from tests.transports.stdio.stdio_fixture import (
    INITIALIZE,
    INITIALIZED,
    make_input,
    make_server,
    make_tool_call,
    to_line,
    wait_until_readable,
)
from ttp_mcp.factory import create_server
from ttp_mcp.transports.stdio import handshake as handshakes
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.transport import LINE_BYTES, serve_stdio


@pytest.fixture(params=["threads", pytest.param("loop", marks=waits_for_pipes)])
def threads(request):
    return request.param == "threads"


@pytest.fixture(params=["legacy", "modern"])
def era(request):
    return request.param


@pytest.fixture
def server(settings, sandbox):
    return create_server(settings, sandbox).server


@pytest.fixture
def serve_messages(tmp_path, server):
    """Serve one session whose input is given as messages or bytes. Files replace pipes, since they hold everything."""

    async def run(messages, *, record=tmp_path / "record", key="key", threads=WINDOWS, server=server):
        handshake = None if record is None else Handshake(record, key)
        return await serve_session(server, messages, tmp_path, handshake, threads=threads)

    return run


@pytest.mark.requirement("handshake.same")
async def test_later_start_sends_the_same_bytes_without_the_real_server(serve_messages, era, threads):
    first = await serve_messages(make_opening(era), threads=threads)
    assert first.is_real
    assert sorted(answer["id"] for answer in first.answers if answer["id"] != "start") == [0, 1, 2, 3, 4]
    later = await serve_messages(make_opening(era), threads=threads)
    assert not later.is_real
    assert sorted(later.lines) == sorted(first.lines)
    plain = await serve_messages(make_opening(era), record=None, threads=threads)
    assert sorted(plain.lines) == sorted(first.lines)


@pytest.mark.requirement("handshake.same")
async def test_request_ids_may_have_any_form(serve_messages):
    await serve_messages(make_opening("legacy"))
    renamed = [{**INITIALIZE, "id": 'ä"\\"'}, INITIALIZED, make_request(2**53, "tools/list"), make_request(-1, "ping")]
    later = await serve_messages(renamed)
    assert [answer["id"] for answer in later.answers] == ['ä"\\"', 2**53, -1]
    assert not later.is_real


ODD_IDS = [0, -1, 2**53, 10**30, "", " ", "\0", 'ä"\\', "\ud83d", "0", "x" * 40_000]


@pytest.mark.requirement("handshake.same")
@pytest.mark.parametrize("odd", ODD_IDS, ids=lambda odd: repr(odd)[:20])
async def test_id_is_echoed_like_the_real_server_does(serve_messages, odd):
    messages = [*make_opening("legacy"), make_request(odd, "tools/list")]
    plain = await serve_messages(messages, record=None)
    await serve_messages(make_opening("legacy"))
    later = await serve_messages(messages)
    assert sorted(map(repr, later.answers)) == sorted(map(repr, plain.answers))


@pytest.mark.requirement("handshake.same")
@pytest.mark.parametrize("number", ["start", 0, "0"])
async def test_requests_with_one_id_get_their_own_responses(serve_messages, era, number):
    """Several requests in flight with one id all get a response, and later clients get their own."""
    messages = [{**message, "id": number} if "id" in message else message for message in make_opening(era)]
    plain = await serve_messages(messages, record=None)
    for _ in range(3):
        assert sorted((await serve_messages(messages)).lines) == sorted(plain.lines)
    for session in ([*make_opening(era)[:-4], message] for message in make_opening(era)[-4:]):
        plain = await serve_messages(session, record=None)
        assert sorted((await serve_messages(session)).lines) == sorted(plain.lines)


def make_meta(era, **more):
    """Return parameters with an era's metadata."""
    return {"_meta": {**(META["_meta"] if era == "modern" else {}), **more}}


TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
UNUSUAL = {
    "an unknown version": lambda era: [
        {**INITIALIZE, "params": INITIALIZE["params"] | {"protocolVersion": "1999-01-01"}},
        make_request(1, "tools/list"),
    ],
    "initialize twice": lambda era: [
        *make_opening(era),
        {**INITIALIZE, "id": "again"},
        INITIALIZED,
        make_request(9, "ping"),
    ],
    "initialized twice": lambda era: [*make_opening(era), INITIALIZED, *make_opening(era, first=11)[-4:]],
    "initialized first": lambda era: [INITIALIZED, *make_opening(era)],
    "ping first": lambda era: [make_request("first", "ping"), *make_opening(era)],
    "ping first, then a call": lambda era: [
        make_request("first", "ping"),
        *make_opening(era),
        make_call(era, 9, "list_integrations"),
    ],
    "a list first": lambda era: [*make_opening(era)[-1:], *make_opening(era, first=11)],
    "the other era later": lambda era: [
        *make_opening(era),
        *make_opening("legacy" if era == "modern" else "modern", first=11),
    ],
    "discover later": lambda era: [*make_opening(era), make_request(9, "server/discover", **META)],
    "a log level": lambda era: [
        *make_opening(era),
        make_request(9, "logging/setLevel", level="debug", **make_meta(era)),
        make_request(10, "ping"),
    ],
    "a subscription": lambda era: [
        *make_opening(era),
        make_request(9, "resources/subscribe", uri="ttp://history", **make_meta(era)),
        make_request(10, "tools/list", **make_meta(era)),
    ],
    "a cursor": lambda era: [
        *make_opening(era),
        make_request(9, "tools/list", cursor="2", **make_meta(era)),
        make_request(10, "prompts/list", **make_meta(era)),
    ],
    "an empty cursor": lambda era: [*make_opening(era), make_request(9, "tools/list", cursor=None, **make_meta(era))],
    "progress": lambda era: [*make_opening(era), make_request(9, "tools/list", **make_meta(era, progressToken="p"))],
    "progress of no form": lambda era: [
        *make_opening(era),
        make_request(9, "tools/list", **make_meta(era, progressToken=[1])),
    ],
    "a trace": lambda era: [
        *make_opening(era),
        make_request(9, "tools/list", **make_meta(era, **TRACE)),
        make_request(10, "ping", **make_meta(era)),
    ],
    "a trace first": lambda era: [
        make_request(9, "server/discover", **make_meta("modern", **TRACE)),
        *make_opening(era)[-4:],
    ],
    "cancelled": lambda era: [
        *make_opening(era),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        make_call(era, 1, "list_integrations"),
    ],
    "an answer that belongs to no request": lambda era: [
        *make_opening(era),
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        make_request(9, "ping"),
    ],
}


@pytest.mark.requirement("handshake.same")
async def test_unusual_session_gets_the_responses_of_the_real_server(serve_messages, era):
    """All share one record, so an entry left by one session would show in another."""
    sessions = {name: make(era) for name, make in UNUSUAL.items()}
    plain = {name: sorted((await serve_messages(messages, record=None)).lines) for name, messages in sessions.items()}
    for _ in range(3):
        for name, messages in sessions.items():
            assert sorted((await serve_messages(messages)).lines) == plain[name], name


@pytest.mark.requirement("handshake.record")
async def test_metadata_that_differs_in_each_session_is_not_recorded(serve_messages, era, tmp_path):
    """A client that traces its requests would fill the record with responses that no later session can use."""
    await serve_messages(make_opening(era))
    before = (tmp_path / "record").read_bytes()
    for number in range(3):
        await serve_messages(
            [
                *make_opening(era),
                make_request(9, "tools/list", **make_meta(era, progressToken=number)),
                make_request(10, "ping", **make_meta(era)),
            ]
        )
        await serve_messages(
            [
                make_request(9, "server/discover", **make_meta("modern", traceparent=str(number))),
                *make_opening("modern")[-4:],
            ]
        )
    assert (tmp_path / "record").read_bytes() == before


def send_in_pieces(peer, pieces):
    """Send each piece so that it is read separately, then close."""
    for piece in pieces:
        peer.send(piece)
    peer.close()


@pytest.fixture
def serve_pieces(tmp_path, server):
    """Serve one session whose input is read in exactly these pieces."""

    async def run(pieces):
        handshake = Handshake(tmp_path / "record", "key")
        given, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # If it is cut only once, this is far less than a socket holds, so this thread never blocks.
        sender = threading.Thread(target=send_in_pieces, args=(peer, pieces))
        with given, (tmp_path / "output").open("w+b") as taken:
            descriptors = {"input_fd": given.fileno(), "output_fd": taken.fileno()}
            sender.start()
            is_real = handshake.replay(**descriptors)
            if is_real:
                with anyio.fail_after(20):
                    await serve_stdio(server, handshake=handshake, **descriptors)
            sender.join()
            taken.seek(0)
            return Session(taken.read(), is_real)

    return run


# Time for what takes milliseconds.
PATIENCE = 20
needs_packets = pytest.mark.skipif(sys.platform != "linux", reason="sockets that keep what was sent together")


def encode_messages(messages):
    """Encode messages with unescaped characters of several bytes."""
    text = "".join(json.dumps(message, ensure_ascii=False) + "\n" for message in messages)
    return text.replace('"peer"', '"pëer 🎉 \u2028"').encode()


@needs_packets
@pytest.mark.requirement("handshake.same")
async def test_messages_may_be_cut_at_every_byte(serve_messages, serve_pieces, era):
    """Also inside a character; each byte may arrive alone."""
    data = encode_messages(make_opening(era)[:4])
    expected = await serve_messages(data)
    for cut in range(1, len(data)):
        session = await serve_pieces([data[:cut], data[cut:]])
        assert not session.is_real
        assert session.lines == expected.lines, cut
    assert (await serve_pieces([data[place : place + 1] for place in range(len(data))])).lines == expected.lines


@needs_packets
@pytest.mark.requirement("handshake.hand-over")
async def test_first_call_may_be_cut_at_every_byte(serve_messages, serve_pieces):
    begin, later = (
        encode_messages(make_opening("legacy")[:3]),
        encode_messages([make_request(9, "tools/call", name="🎉"), make_request(10, "ping")]),
    )
    await serve_messages(begin)
    expected = await serve_messages(begin + later, record=None)
    for cut in range(len(later)):
        session = await serve_pieces([begin + later[:cut], later[cut:]])
        assert session.is_real
        assert sorted(session.lines) == sorted(expected.lines), cut


@pytest.mark.requirement("handshake.same")
@pytest.mark.parametrize(
    "write",
    [
        lambda message: json.dumps(message).encode() + b"\r\n",
        lambda message: b" \t" + json.dumps(message, separators=(" , ", " : ")).encode() + b" \n",
        lambda message: json.dumps(dict(reversed(message.items())), separators=(",", ":")).encode() + b"\n",
        lambda message: json.dumps(message).replace("/", "\\/").encode() + b"\n",
    ],
)
async def test_message_is_the_same_however_it_is_written(serve_messages, era, write):
    data = b"".join(map(write, make_opening(era)))
    plain = await serve_messages(data, record=None)
    await serve_messages(make_opening(era))
    later = await serve_messages(data)
    assert not later.is_real
    assert sorted(later.lines) == sorted(plain.lines)


@pytest.mark.requirement("handshake.hand-over")
async def test_pipelined_session_is_answered_once_in_the_right_state(serve_messages, era, threads):
    """The call needs the handshake of 2025, or the era of the first request; replayed responses aren't repeated."""
    messages = [*make_opening(era), make_call(era, 9, "list_integrations")]
    plain = await serve_messages(messages, record=None, threads=threads)
    await serve_messages(messages, threads=threads)
    later = await serve_messages(messages, threads=threads)
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)
    assert later.answers[-1]["id"] == 9


@pytest.mark.requirement("handshake.hand-over")
async def test_session_cut_anywhere_is_answered_once(serve_messages, era):
    """The input ends after each message, with and without its line end, and after half of it."""
    messages = [*make_opening(era), make_call(era, 9, "list_integrations"), *make_opening(era, first=11)[-4:]]
    await serve_messages(make_opening(era))
    for size in range(len(messages) + 1):
        whole = b"".join(map(to_line, messages[:size]))
        rest = to_line(messages[size])[:30] if size < len(messages) else b""
        for data in (whole, whole[:-1], whole + rest):
            asked = Counter(message["id"] for message in messages[:size] if "id" in message)
            answered = Counter(answer["id"] for answer in (await serve_messages(data)).answers)
            answered.pop(None, 0)  # the error for half a message
            assert answered == asked, data


@pytest.mark.requirement("handshake.hand-over")
@pytest.mark.parametrize("before", [[], [make_request(0, "ping")]], ids=["first", "after a ping"])
async def test_hand_over_keeps_the_clients_capabilities(serve_messages, before):
    """A tool prompts the client, which needs a handshake that declares this capability."""
    server = make_server(None)._lowlevel_server
    reply = {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"yes": True}}}
    opening = [*before, INITIALIZE, INITIALIZED]
    messages = [*opening, make_tool_call(9, "ask"), reply]
    await serve_messages(opening, server=server)
    answers = (await serve_messages(messages, server=server)).answers
    assert [answer for answer in answers if answer.get("method") == "elicitation/create"]
    assert [answer["id"] for answer in answers if "result" in answer] == [*(each["id"] for each in before), "start", 9]


REASON = {"code": -32603, "message": "The server can't start: it is broken. Nothing was sent."}


@pytest.fixture
def refuse_session(tmp_path, threads):
    """Replay the session that a file holds, and refuse its rest as a server that can't start does."""

    def run(data):
        (tmp_path / "input").write_bytes(data)
        handshake = Handshake(tmp_path / "record", "key")
        with (tmp_path / "input").open("rb") as given, (tmp_path / "output").open("w+b") as taken:
            assert handshake.replay(given.fileno(), taken.fileno(), threads=threads)
            handshake.refuse("it is broken.")
            taken.seek(0)
            return Session(taken.read(), is_real=False)

    return run


@pytest.mark.requirement("fast-start.end")
async def test_failed_start_answers_each_request_that_is_not_cancelled_once(serve_messages, refuse_session, era):
    """No replayed response is repeated, unreadable lines are skipped, and the last line needs no end."""
    replayed = await serve_messages(make_opening(era))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 10}}
    skipped = [b"nonsense\n", b"[]\n", b"[" * 5000 + b"\n", b"\xff\n", b"\n", b'{"jsonrpc":"2.0","id":1,"result":{}}\n']
    skipped += [INITIALIZED, cancelled, {**cancelled, "params": {}}, {**cancelled, "params": None}]
    asked = [make_call(era, number, "list_posts") for number in (9, 10, "x", 9)]
    messages = [*make_opening(era), asked[0], *skipped, *asked[1:], cancelled, *skipped]
    session = refuse_session(b"".join(map(to_line, messages)) + to_line(make_request("\ud83d", "ping"))[:-1])
    number_replayed = len(replayed.lines)
    assert sorted(session.lines[:number_replayed]) == sorted(replayed.lines)
    assert session.answers[number_replayed:] == [
        {"jsonrpc": "2.0", "id": number, "error": REASON} for number in (9, "x", 9, "\ud83d")
    ]


@pytest.fixture
def refusal_pipes(tmp_path, threads, monkeypatch):
    """Replay a session over pipes and refuse its rest in a thread: the client's ends of the pipes, and the thread.

    The parent process is checked all the time.
    """
    monkeypatch.setattr(handshakes, "_PARENT_SECONDS", 0.001)
    input_fd, peer_input = make_input()
    peer_output, output_fd = os.pipe()

    def run():
        try:
            handshake = Handshake(tmp_path / "record", "key")
            assert handshake.replay(input_fd, output_fd, threads=threads)
            handshake.refuse("it is broken.")
        finally:
            os.close(output_fd)

    server = threading.Thread(target=run, daemon=True)
    with os.fdopen(peer_input, "wb", buffering=0) as given, os.fdopen(peer_output, "rb") as taken:
        yield given, taken, server
        given.close()
        end_thread(server)
    os.close(input_fd)


def end_thread(thread):
    """Wait for a thread that has to end."""
    thread.join(PATIENCE)
    assert not thread.is_alive()


def read_message(taken):
    """Read a line that has to arrive."""
    assert wait_until_readable(taken.fileno(), PATIENCE)
    return json.loads(taken.readline())


@pytest.mark.requirement("fast-start.end")
async def test_failed_start_answers_until_the_input_ends(serve_messages, refusal_pipes):
    """However late and in however many pieces a request arrives."""
    await serve_messages(make_opening("legacy")[:1])
    given, taken, server = refusal_pipes
    given.write(to_line(INITIALIZE))
    server.start()
    assert read_message(taken)["id"] == "start"
    for number in range(9, 12):
        for piece in (
            to_line(make_tool_call(number, "list_posts"))[:30],
            to_line(make_tool_call(number, "list_posts"))[30:],
        ):
            given.write(piece)
        assert read_message(taken) == {"jsonrpc": "2.0", "id": number, "error": REASON}
    given.write(b"{" * 1000)
    given.close()
    end_thread(server)
    assert taken.read() == b""


@pytest.mark.requirement("fast-start.end")
async def test_failed_start_ends_when_its_output_breaks(serve_messages, refusal_pipes):
    await serve_messages(make_opening("legacy")[:1])
    given, taken, server = refusal_pipes
    given.write(to_line(INITIALIZE))
    server.start()
    read_message(taken)
    taken.close()
    given.write(to_line(make_tool_call(9, "list_posts")))
    end_thread(server)


@pytest.mark.requirement("fast-start.end")
async def test_failed_start_reads_no_endless_line(serve_messages, refuse_session):
    """A later request isn't answered: what is read of a line is bounded."""
    replayed = await serve_messages(make_opening("legacy"))
    messages = [
        *make_opening("legacy"),
        make_tool_call(9, "list_posts"),
        b"x" * 3_000_000 + b"\n",
        make_tool_call(10, "list_posts"),
    ]
    session = refuse_session(b"".join(map(to_line, messages)))
    assert [answer["id"] for answer in session.answers[len(replayed.lines) :]] == [9]


@pytest.mark.requirement("handshake.hand-over")
def test_input_that_cannot_be_read_is_left_to_the_real_server(tmp_path):
    with (tmp_path / "input").open("wb") as unreadable:
        assert Handshake(tmp_path / "record", "key").replay(unreadable.fileno(), threads=WINDOWS)


STREAMS = """
import sys
from pathlib import Path
from ttp_mcp.transports.stdio.handshake import Handshake
Handshake(Path(sys.argv[1]), "key").replay()
"""


@pytest.mark.requirement("handshake.same")
async def test_replay_reads_stdin_and_writes_stdout(serve_messages, tmp_path):
    await serve_messages(make_opening("legacy"))
    expected = await serve_messages(make_opening("legacy"))
    replayed = subprocess.run(
        [sys.executable, "-c", STREAMS, str(tmp_path / "record")],
        input=b"".join(map(to_line, make_opening("legacy"))),
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    assert (replayed.stdout.splitlines(), replayed.stderr) == (expected.lines, b"")


@pytest.mark.requirement("handshake.hand-over")
async def test_real_server_receives_what_shaped_the_session_and_its_answer_is_dropped(serve_messages, tmp_path):
    await serve_messages(make_opening("legacy"))
    call = make_tool_call(9, "list_posts")
    (tmp_path / "input").write_bytes(b"".join(map(to_line, [*make_opening("legacy"), call])))
    handshake = Handshake(tmp_path / "record", "key")
    with (tmp_path / "input").open("rb") as given, (tmp_path / "output").open("wb") as taken:
        assert handshake.replay(given.fileno(), taken.fileno(), threads=WINDOWS)
    assert handshake.unread == to_line(call)
    assert handshake.take_unread() == b"".join(map(to_line, [INITIALIZE, INITIALIZED, call]))
    assert handshake.unread == b""
    assert not handshake.observe(to_line(call))
    assert not handshake.is_over
    assert handshake.is_answered("start", {})
    assert handshake.is_over


@waits_for_pipes
@pytest.mark.requirement("fast-start.end")
def test_replay_goes_on_while_the_parent_exists(tmp_path, monkeypatch):
    """A client may be silent for longer than the interval at which its process is looked for."""
    input_fd, peer_input = os.pipe()
    select_files, intervals = select.select, [1, 2, 3]

    def wait(*files):
        if intervals:
            intervals.pop()
            return [], [], []
        os.close(peer_input)
        return select_files(*files)

    monkeypatch.setattr(select, "select", wait)
    with os.fdopen(input_fd, "rb"):
        assert not Handshake(tmp_path / "record", "key").replay(input_fd, threads=False)


ORPHAN = """
import os, sys
from pathlib import Path
from ttp_mcp.transports.stdio import handshake
handshake._PARENT_SECONDS = 0.001
input_fd, _ = os.pipe()
if not (child := os.fork()):
    handshake.Handshake(Path(sys.argv[1]), "key").replay(input_fd)
    os._exit(1)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.requirement("fast-start.end")
@skip_on_windows("Windows has no fork")
def test_replay_ends_if_the_parent_is_not_that_of_the_start(tmp_path):
    """Without a word: the input is still open. With its parent, the end of the input ends it."""
    with Path(os.devnull).open("rb") as empty:
        assert not Handshake(tmp_path / "record", "key").replay(empty.fileno(), threads=False)
    command = [sys.executable, "-c", ORPHAN, str(tmp_path / "record")]
    ended = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE)
    assert (ended.stdout, ended.stderr) == (b"0\n", b"")


@pytest.mark.requirement("handshake.doubt")
@pytest.mark.parametrize(
    "odd",
    [
        b"nonsense",
        b"",
        b"[" * 5000,
        b"[]",
        b'[{"jsonrpc":"2.0","id":8,"method":"tools/list"}]',
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"cursor":NaN}}',
        b'{"jsonrpc":"2.0","id":8,"id":9,"method":"tools/list","extra":1}',
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"_meta":{"progressToken":1}}}',
        b"\xff\xfe",
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":8,"method":"tools/list"}',
        '{"jsonrpc":"2.0","id":8,"method":"tools/list"}'.encode("utf-16"),
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"cursor":"1"}}',
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":null}',
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":[]}',
        b'{"jsonrpc":"1.0","id":8,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":8.5,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":8,"method":["tools/list"]}',
        b'{"jsonrpc":"2.0","id":8,"result":{}}',
        b'{"jsonrpc":"2.0","id":8,"method":"nonsense"}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}',
        b'{"jsonrpc":"2.0","id":8,"method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"name":"\\ud83d"}}',
        b'{"jsonrpc":"2.0","id":8,"method":"ping","params":{"text":"' + b"x" * 100_000 + b'"}}',
        pytest.param(b"x" * (LINE_BYTES + 1), id="a line over the limit"),
    ],
)
async def test_other_lines_go_to_the_real_server(serve_messages, odd):
    data = b"".join(map(to_line, make_opening("legacy")[:4])) + odd + b"\n" + to_line(make_request(9, "ping"))
    plain = await serve_messages(data, record=None)
    await serve_messages(make_opening("legacy"))
    later = await serve_messages(data)
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)


@pytest.mark.requirement("handshake.doubt")
@pytest.mark.parametrize(
    "messages",
    [
        [make_request(1, "tools/list")],
        [make_request(1, "ping"), make_request(2, "tools/list", **META)],
        [
            make_request(
                1, "tools/list", _meta={**META["_meta"], "io.modelcontextprotocol/protocolVersion": "1999-01-01"}
            )
        ],
        [make_request(1, "server/discover", **META), INITIALIZE],
        [INITIALIZE, make_request(1, "tools/list", **META)],
    ],
)
async def test_error_is_never_replayed(serve_messages, messages):
    plain = await serve_messages(messages, record=None)
    assert "error" in plain.answers[-1]
    for _ in range(2):
        again = await serve_messages(messages)
        assert again.is_real
        assert again.lines == plain.lines


@pytest.mark.requirement("handshake.doubt")
async def test_response_is_replayed_only_to_matching_clients(serve_messages):
    """Clients differ in version and capabilities; each gets its own responses, and both are recorded."""
    old = [
        {**INITIALIZE, "params": INITIALIZE["params"] | {"protocolVersion": "2024-11-05"}},
        *make_opening("legacy")[1:],
    ]
    sessions = (make_opening("legacy"), old, make_opening("modern"), change_client(make_opening("legacy")))
    first = [await serve_messages(messages) for messages in sessions]
    assert all(session.is_real for session in first)
    later = [await serve_messages(messages) for messages in sessions]
    assert not any(session.is_real for session in later)
    assert [sorted(session.lines) for session in later] == [sorted(session.lines) for session in first]
    assert first[0].of("start") != first[1].of("start")


@pytest.mark.requirement("handshake.doubt")
async def test_nothing_is_recorded_after_another_message(serve_messages):
    messages = [*make_opening("legacy")[:3], make_call("legacy", 9, "list_integrations"), *make_opening("legacy")[3:]]
    await serve_messages(messages)
    later = await serve_messages(make_opening("legacy"))
    assert later.is_real
    assert [answer["id"] for answer in later.answers][:2] == ["start", 0]


@pytest.mark.requirement("handshake.doubt")
@pytest.mark.parametrize("later", [make_call("legacy", 1, "list_integrations"), make_request(1, "prompts/list")])
def test_response_to_an_id_of_two_requests_is_not_recorded(tmp_path, later):
    handshake = Handshake(tmp_path / "record", "key")
    assert handshake.observe(to_line(make_request(1, "tools/list")))
    assert not handshake.is_over
    assert not handshake.observe(to_line(later))
    assert handshake.is_over
    assert not handshake.is_answered(1, {"content": []})
    assert not handshake.observe(to_line(make_request(2, "ping")))
    assert not Handshake(tmp_path / "record", "key").can_replay


def write_long_record(path):
    """Add an answer that makes a valid record too long."""
    answers = path.read_bytes().partition(b"\n")[2] + b"\n" + b"a" * 64 + b'\t"' + b"x" * 512 * 1024 + b'"'
    path.write_bytes(hashlib.sha256(answers).hexdigest().encode() + b"\n" + answers)


@pytest.mark.requirement("handshake.record")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"TimeToPost", b"TimeToP0st", 1)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" * 2_000_000),
        lambda path: path.write_bytes(path.read_bytes() + b" "),
        lambda path: path.write_bytes(bytes(range(256)) * 4),
        lambda path: write_long_record(path),
    ],
)
async def test_damaged_record_is_ignored(serve_messages, tmp_path, damage):
    await check_invalid_record(serve_messages, tmp_path / "record", damage)


@pytest.mark.requirement("handshake.record")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.chmod(0o640), marks=needs_modes),
        pytest.param(lambda path: path.chmod(0o602), marks=needs_modes),
        pytest.param(lambda path: path.rename(path.with_name("other")) and path.symlink_to("other"), marks=needs_links),
        lambda path: path.unlink() or path.mkdir(),
        pytest.param(lambda path: path.unlink() or os.mkfifo(path, 0o600), marks=needs_fifos),
        pytest.param(lambda path: os.chown(path, 12345, -1), marks=needs_root),
    ],
)
async def test_record_that_others_can_change_is_ignored(serve_messages, tmp_path, damage):
    await check_invalid_record(serve_messages, tmp_path / "record", damage)


async def check_invalid_record(serve_messages, record, damage):
    """Check that a start with an invalid record uses the real server, and replaces the record."""
    plain = await serve_messages(make_opening("legacy"))
    damage(record)
    later = await serve_messages(make_opening("legacy"))
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)
    # The record has been replaced, unless it is a folder.
    assert (await serve_messages(make_opening("legacy"))).is_real == record.is_dir()


@pytest.mark.requirement("handshake.record")
@pytest.mark.parametrize(
    "leave",
    [
        lambda place, other: place.write_bytes(b"half an answer"),
        pytest.param(lambda place, other: place.symlink_to(other), marks=needs_links),
        pytest.param(lambda place, other: place.hardlink_to(other), marks=needs_links),
    ],
)
async def test_file_that_a_killed_process_left_is_replaced(serve_messages, tmp_path, leave):
    """So is a link that another user put there; the file that it leads to is unchanged."""
    (tmp_path / "other").write_bytes(b"another file")
    leave(tmp_path / "record.new", tmp_path / "other")
    await serve_messages(make_opening("legacy"))
    assert not (await serve_messages(make_opening("legacy"))).is_real
    assert (tmp_path / "other").read_bytes() == b"another file"
    assert not (tmp_path / "record.new").exists()


@pytest.mark.requirement("handshake.record")
async def test_recorded_answer_is_not_written_again(serve_messages, tmp_path):
    """The real server refuses the request of another era, and answers the last ping, which is like a recorded one."""
    await serve_messages(make_opening("legacy"))
    before = (tmp_path / "record").stat()
    messages = [*make_opening("legacy"), make_request(9, "tools/list", **META), make_request(10, "ping")]
    assert (await serve_messages(messages)).is_real
    after = (tmp_path / "record").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.requirement("handshake.record")
async def test_record_of_another_start_is_ignored(serve_messages):
    await serve_messages(make_opening("legacy"))
    assert (await serve_messages(make_opening("legacy"), key="other")).is_real


@pytest.mark.requirement("handshake.record")
async def test_server_works_without_a_writable_folder(serve_messages, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        session = await serve_messages(make_opening("legacy"), record=tmp_path / "file" / "record")
        assert session.is_real
        assert len(session.answers) == 6


@pytest.mark.requirement("handshake.record")
async def test_concurrent_recordings_are_merged(serve_messages, tmp_path, server):
    """Both read the empty record before either writes."""
    both = [Handshake(tmp_path / "record", "key") for _ in range(2)]
    clients = [make_opening("legacy"), change_client(make_opening("legacy"))]
    plain = await serve_messages(clients[0], record=None)
    for number in range(len(clients[0])):
        for handshake, messages in zip(both, clients, strict=True):
            message = messages[number]
            assert handshake.observe(to_line(message))
            if "id" in message:
                assert not handshake.is_answered(message["id"], plain.of(message["id"])["result"])
    for messages in clients:
        assert not (await serve_messages(messages)).is_real


@pytest.mark.requirement("handshake.record")
@pytest.mark.parametrize("in_one_session", [False, True])
async def test_record_stays_small_and_keeps_the_latest_clients(tmp_path, in_one_session):
    path = tmp_path / "record"
    handshake = Handshake(path, "key")
    for number in range(30):
        handshake = handshake if in_one_session else Handshake(path, "key")
        assert handshake.observe(to_line(make_request(1, "initialize", name=number)))
        handshake.is_answered(1, {"text": "x" * 50_000})
        assert Handshake(path, "key").can_replay
    assert path.stat().st_size <= 512 * 1024
    assert 5 < path.read_bytes().count(b"\n") < 15
    assert has_mode(path, 0o600)


@pytest.mark.requirement("handshake.record")
def test_record_of_any_size_can_be_replayed(tmp_path):
    """Around the size at which a record begins again."""
    for size in range(424_000, 424_300, 20):
        for length, method in ((100_000, "ping"), (size, "tools/list")):
            handshake = Handshake(tmp_path / "record", "key")
            assert handshake.observe(to_line(make_request(1, method)))
            handshake.is_answered(1, "x" * length)
        assert "x" * size in (tmp_path / "record").read_text()
        assert Handshake(tmp_path / "record", "key").can_replay
        (tmp_path / "record").unlink()


@waits_for_pipes
@pytest.mark.requirement("handshake.same")
async def test_replay_waits_for_a_client_that_does_not_read(serve_messages, tmp_path, monkeypatch):
    """Its output is full and shared with a program that doesn't wait for it."""
    expected = await serve_messages(make_opening("legacy"))
    peer_output, output_fd = os.pipe()
    os.set_blocking(output_fd, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(output_fd, b"{}".ljust(4095) + b"\n")
    waits = threading.Event()
    select_files = select.select

    def note_waiting(reading, writing, *others):
        if writing:
            waits.set()
        return select_files(reading, writing, *others)

    monkeypatch.setattr(select, "select", note_waiting)

    def run():
        try:
            with (tmp_path / "input").open("rb") as given:
                Handshake(tmp_path / "record", "key").replay(given.fileno(), output_fd, threads=False)
        finally:
            os.close(output_fd)

    server = threading.Thread(target=run, daemon=True)
    server.start()
    assert waits.wait(PATIENCE)
    with os.fdopen(peer_output, "rb") as taken:
        assert sorted(each for each in taken.read().splitlines() if each.strip() != b"{}") == sorted(expected.lines)
    end_thread(server)
