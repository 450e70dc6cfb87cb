"""The replayed handshake: the same answers as without it, whatever is sent, and the real server at any doubt."""

import json
import os
import stat
import sys
from collections import Counter
from dataclasses import replace

import anyio
import pytest

from tests.transports.stdio.stdio_fixture import INITIALIZE, INITIALIZED, call, line, small_server
from ttp_mcp.config import SETTINGS
from ttp_mcp.credentials import Token
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.transports.stdio import handshake as handshakes
from ttp_mcp.transports.stdio.handshake import Handshake, find_handshake
from ttp_mcp.transports.stdio.transport import serve_stdio

TOKEN = "ttp_" + "0123456789abcdef" * 3
META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


def request(number, method, /, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def opening(era, first=1):
    """The messages with which a client of an era opens a session."""
    params = META if era == "modern" else {}
    begin = (
        [request(0, "server/discover", **META)] if era == "modern" else [INITIALIZE, INITIALIZED, request(0, "ping")]
    )
    return begin + [request(number, method, **params) for number, method in enumerate(LISTS, first)]


def calling(era, number, name, /, **arguments):
    """A tool call in the form of an era."""
    message = call(number, name, **arguments)
    return message if era == "legacy" else {**message, "params": message["params"] | META}


def other_client(messages):
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


@pytest.fixture(params=["loop", "threads"])
def threads(request):
    return request.param == "threads"


@pytest.fixture(params=["legacy", "modern"])
def era(request):
    return request.param


@pytest.fixture
def server(settings, sandbox):
    return create_server(settings, sandbox).server


@pytest.fixture
def serve(tmp_path, server):
    """Serves one session whose input is given as messages or as bytes. Files serve as pipes that hold everything."""

    async def run(messages, *, record=tmp_path / "record", key="key", threads=False, server=server):
        data = messages if isinstance(messages, bytes) else b"".join(map(line, messages))
        (tmp_path / "input").write_bytes(data)
        handshake = None if record is None else Handshake(record, key)
        with (tmp_path / "input").open("rb") as given, (tmp_path / "output").open("w+b") as taken:
            descriptors = {"input_fd": given.fileno(), "output_fd": taken.fileno(), "threads": threads}
            is_real = handshake is None or not handshake.can_replay or handshake.replay(**descriptors)
            if is_real:
                with anyio.fail_after(20):
                    await serve_stdio(server, handshake=handshake, **descriptors)
            taken.seek(0)
            return Session(taken.read(), is_real)

    return run


@pytest.mark.requirement("handshake.same")
async def test_a_later_start_answers_the_same_bytes_without_the_real_server(serve, era, threads):
    first = await serve(opening(era), threads=threads)
    assert first.is_real
    assert sorted(answer["id"] for answer in first.answers if answer["id"] != "start") == [0, 1, 2, 3, 4]
    later = await serve(opening(era), threads=threads)
    assert not later.is_real
    assert sorted(later.lines) == sorted(first.lines)
    plain = await serve(opening(era), record=None, threads=threads)
    assert sorted(plain.lines) == sorted(first.lines)


@pytest.mark.requirement("handshake.same")
async def test_ids_of_requests_may_be_of_any_form(serve):
    await serve(opening("legacy"))
    renamed = [{**INITIALIZE, "id": 'ä"\\"'}, INITIALIZED, request(2**53, "tools/list"), request(-1, "ping")]
    later = await serve(renamed)
    assert [answer["id"] for answer in later.answers] == ['ä"\\"', 2**53, -1]
    assert not later.is_real


ODD_IDS = [0, -1, 2**53, 10**30, "", " ", "\0", 'ä"\\', "\ud83d", "0", "x" * 40_000]


@pytest.mark.requirement("handshake.same")
@pytest.mark.parametrize("odd", ODD_IDS, ids=repr)
async def test_an_id_is_repeated_as_the_real_server_repeats_it(serve, odd):
    messages = [*opening("legacy"), request(odd, "tools/list")]
    plain = await serve(messages, record=None)
    await serve(opening("legacy"))
    later = await serve(messages)
    assert sorted(map(repr, later.answers)) == sorted(map(repr, plain.answers))


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
async def test_a_message_is_the_same_however_it_is_written(serve, era, write):
    data = b"".join(map(write, opening(era)))
    plain = await serve(data, record=None)
    await serve(opening(era))
    later = await serve(data)
    assert not later.is_real
    assert sorted(later.lines) == sorted(plain.lines)


@pytest.mark.requirement("handshake.hand-over")
async def test_everything_sent_at_once_is_answered_once_and_in_the_right_state(serve, era, threads):
    """The call needs the handshake of 2025, or the era of the first request; its answers from the record aren't repeated."""
    messages = [*opening(era), calling(era, 9, "list_integrations")]
    plain = await serve(messages, record=None, threads=threads)
    await serve(messages, threads=threads)
    later = await serve(messages, threads=threads)
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)
    assert later.answers[-1]["id"] == 9


@pytest.mark.requirement("handshake.hand-over")
async def test_whatever_the_session_is_cut_at_every_request_before_is_answered_once(serve, era):
    """The end of input after each message, with and without its line end, and after half of it."""
    messages = [*opening(era), calling(era, 9, "list_integrations"), *opening(era, first=11)[-4:]]
    await serve(messages)
    for size in range(len(messages) + 1):
        whole = b"".join(map(line, messages[:size]))
        rest = line(messages[size])[:30] if size < len(messages) else b""
        for data in (whole, whole[:-1], whole + rest):
            asked = Counter(message["id"] for message in messages[:size] if "id" in message)
            answered = Counter(answer["id"] for answer in (await serve(data)).answers)
            answered.pop(None, 0)  # the refusal of half a message
            assert answered == asked, data


@pytest.mark.requirement("handshake.hand-over")
async def test_after_the_hand_over_the_server_knows_what_the_client_can(tmp_path, serve):
    """A tool asks the client, which it may only do after a handshake that names this capability."""
    server = small_server(None)._lowlevel_server
    reply = {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"yes": True}}}
    messages = [INITIALIZE, INITIALIZED, call(9, "ask"), reply]
    await serve(messages[:2], server=server)
    answers = (await serve(messages, server=server)).answers
    assert [answer for answer in answers if answer.get("method") == "elicitation/create"]
    assert [answer["id"] for answer in answers if "result" in answer] == ["start", 9]


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
    ],
)
async def test_any_other_line_goes_to_the_real_server(serve, odd):
    data = b"".join(map(line, opening("legacy")[:4])) + odd + b"\n" + line(request(9, "ping"))
    plain = await serve(data, record=None)
    await serve(opening("legacy"))
    later = await serve(data)
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)


@pytest.mark.requirement("handshake.doubt")
@pytest.mark.parametrize(
    "messages",
    [
        [request(1, "tools/list")],
        [request(1, "ping"), request(2, "tools/list", **META)],
        [request(1, "tools/list", _meta={**META["_meta"], "io.modelcontextprotocol/protocolVersion": "1999-01-01"})],
        [request(1, "server/discover", **META), INITIALIZE],
        [INITIALIZE, request(1, "tools/list", **META)],
    ],
)
async def test_an_error_is_never_replayed(serve, messages):
    plain = await serve(messages, record=None)
    assert "error" in plain.answers[-1]
    for _ in range(2):
        again = await serve(messages)
        assert again.is_real
        assert again.lines == plain.lines


@pytest.mark.requirement("handshake.doubt")
async def test_an_answer_belongs_to_the_session_that_got_it(serve):
    """Clients differ in the version they ask for and in what they can; each gets its own answers, and both are remembered."""
    old = [{**INITIALIZE, "params": INITIALIZE["params"] | {"protocolVersion": "2024-11-05"}}, *opening("legacy")[1:]]
    sessions = (opening("legacy"), old, opening("modern"), other_client(opening("legacy")))
    first = [await serve(messages) for messages in sessions]
    assert all(session.is_real for session in first)
    later = [await serve(messages) for messages in sessions]
    assert not any(session.is_real for session in later)
    assert [sorted(session.lines) for session in later] == [sorted(session.lines) for session in first]
    assert first[0].of("start") != first[1].of("start")


@pytest.mark.requirement("handshake.doubt")
async def test_after_another_message_nothing_is_recorded(serve):
    messages = [*opening("legacy")[:3], calling("legacy", 9, "list_integrations"), *opening("legacy")[3:]]
    await serve(messages)
    later = await serve(opening("legacy"))
    assert later.is_real
    assert [answer["id"] for answer in later.answers][:2] == ["start", 0]


@pytest.mark.requirement("handshake.record")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"TimeToPost", b"TimeToP0st", 1)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" * 2_000_000),
        lambda path: path.chmod(0o640),
        lambda path: path.chmod(0o602),
        lambda path: path.rename(path.with_name("other")) and path.symlink_to("other"),
        lambda path: path.unlink() or path.mkdir(),
        lambda path: path.unlink() or os.mkfifo(path, 0o600),
        pytest.param(
            lambda path: os.chown(path, 12345, -1), marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
        ),
    ],
)
async def test_a_record_that_may_be_changed_by_others_or_is_damaged_counts_as_none(serve, tmp_path, damage):
    plain = await serve(opening("legacy"))
    damage(tmp_path / "record")
    later = await serve(opening("legacy"))
    assert later.is_real
    assert sorted(later.lines) == sorted(plain.lines)


@pytest.mark.requirement("handshake.record")
async def test_a_record_of_another_start_counts_as_none(serve):
    await serve(opening("legacy"))
    assert (await serve(opening("legacy"), key="other")).is_real


@pytest.mark.requirement("handshake.record")
async def test_a_folder_that_can_not_be_written_costs_only_the_record(serve, tmp_path):
    (tmp_path / "file").touch()
    for _ in range(2):
        session = await serve(opening("legacy"), record=tmp_path / "file" / "record")
        assert session.is_real
        assert len(session.answers) == 6


@pytest.mark.requirement("handshake.record")
async def test_two_processes_that_record_at_once_keep_the_answers_of_both(serve, tmp_path, server):
    """Both have read the empty record before either writes."""
    both = [Handshake(tmp_path / "record", "key") for _ in range(2)]
    clients = [opening("legacy"), other_client(opening("legacy"))]
    plain = await serve(clients[0], record=None)
    for number in range(len(clients[0])):
        for handshake, messages in zip(both, clients, strict=True):
            message = messages[number]
            assert handshake.observe(line(message))
            if "id" in message:
                assert not handshake.is_answered(message["id"], plain.of(message["id"])["result"])
    for messages in clients:
        assert not (await serve(messages)).is_real


@pytest.mark.requirement("handshake.record")
async def test_a_record_stays_small_and_keeps_the_latest_clients(tmp_path):
    path = tmp_path / "record"
    for number in range(30):
        handshake = Handshake(path, "key")
        assert handshake.observe(line(request(1, "initialize", name=number)))
        handshake.is_answered(1, {"text": "x" * 50_000})
    assert path.stat().st_size <= 512 * 1024
    assert 5 < len(json.loads(path.read_bytes()[64:])) < 15
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Finds the handshake of a start with these arguments and variables, and records one answer if none is there."""
    monkeypatch.setattr(os, "environ", {"TTP_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path)})

    def find(*words, **environment):
        os.environ |= environment
        found = find_handshake(words)
        for name in environment:
            del os.environ[name]
        return found

    return find


def record_answer(handshake):
    assert not handshake.can_replay
    assert handshake.observe(line(request(1, "ping")))
    handshake.is_answered(1, {})


@pytest.mark.requirement("handshake.key")
def test_a_start_with_the_same_program_arguments_and_settings_finds_the_record(start):
    record_answer(start("--sandbox", TTP_ACCESS="read"))
    assert start("--sandbox", TTP_ACCESS="read", LANG="C").can_replay
    for words, environment in (
        ([], {"TTP_ACCESS": "read"}),
        (["--sandbox"], {"TTP_ACCESS": "full"}),
        (["--sandbox"], {}),
        (["--sandbox"], {"TTP_ACCESS": "read", "TTP_FAST_START": "off"}),
        (["--sandbox"], {"TTP_ACCESS": "read", "TIMETOPOST_ORG_ID": "org_1"}),
        (["--sandbox"], {"TTP_ACCESS": "read", "TTP_ANYTHING": "new"}),
    ):
        assert not start(*words, **environment).can_replay


@pytest.mark.requirement("handshake.key")
def test_another_version_of_the_program_or_of_any_distribution_has_another_record(start, tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "mcp-2.3.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(site)
    record_answer(start())
    (site / "mcp-2.3.0.dist-info").rename(site / "mcp-2.3.1.dist-info")
    assert not start().can_replay
    (site / "mcp-2.3.1.dist-info").rename(site / "mcp-2.3.0.dist-info")
    assert start().can_replay
    os.utime(site / "mcp-2.3.0.dist-info", (1, 1))  # installed again under the same version
    assert not start().can_replay
    module = tmp_path / "ttp_mcp" / "transports" / "stdio" / "handshake.py"
    module.parent.mkdir(parents=True)
    module.touch()
    monkeypatch.setattr(handshakes, "__file__", str(module))
    record_answer(start())
    (tmp_path / "ttp_mcp" / "rules.json").touch()
    assert not start().can_replay


@pytest.mark.requirement("handshake.no-secret")
def test_a_token_changes_no_record_and_other_secrets_forbid_one(start):
    record_answer(start(TTP_API_TOKEN=TOKEN))
    assert start(TTP_API_TOKEN=TOKEN.replace("0", "f")).can_replay
    assert start(TTP_SERVER_KEY="k" * 40) is None
    assert start(TTP_STATE_URL="postgresql://user:password@host/db") is None
    secrets = {name for setting in SETTINGS if setting.secret for name in (setting.name, *setting.aliases)}
    assert secrets == handshakes.TOKEN_VARIABLES | handshakes.REFUSED_VARIABLES


@pytest.mark.requirement("handshake.no-secret")
async def test_a_record_holds_what_every_user_gets(serve, start, tmp_path, settings, sandbox):
    """It is the same with and without a token and posts."""
    found = start(TTP_API_TOKEN=TOKEN, TTP_ORG_ID="org_private")
    record_answer(found)
    (path,) = (tmp_path / "state").iterdir()
    assert not any(secret in path.read_bytes() for secret in (TOKEN[4:].encode(), b"org_private"))
    await serve([*opening("legacy"), call(9, "list_posts")])
    with Sandbox(empty=True) as without_posts:
        await serve(opening("legacy"), record=tmp_path / "empty", server=create_server(settings, without_posts).server)
    assert (tmp_path / "record").read_bytes() == (tmp_path / "empty").read_bytes()
    for name, token in (("with", Token(TOKEN)), ("without", None)):
        real = create_server(replace(settings, token=token)).server
        await serve(opening("legacy"), record=tmp_path / name, server=real)
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()


@pytest.mark.requirement("handshake.record")
def test_records_of_old_settings_are_removed(start, tmp_path):
    for number in range(20):
        record_answer(start(TTP_ORG_ID=f"org_{number}"))
    assert len(list((tmp_path / "state").iterdir())) == 16
    assert start(TTP_ORG_ID="org_19").can_replay


@pytest.mark.requirement("handshake.record")
@pytest.mark.skipif(sys.platform != "linux", reason="names Linux's folders")
@pytest.mark.parametrize("state_folder", ["", "state", "${HOME}/state"])
def test_without_a_state_folder_the_record_is_in_the_folder_for_caches(start, tmp_path, state_folder):
    record_answer(start(TTP_STATE_DIR=state_folder, XDG_CACHE_HOME=str(tmp_path / "cache")))
    assert len(list((tmp_path / "cache" / "ttp-mcp").iterdir())) == 1
