"""C2 and C3: after a torn log or a failing disk, data is whole, answers are true, and the sandbox keeps running."""

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import posts, tokens
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.store import Store

pytestmark = pytest.mark.acceptance

FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
COPIES = 500 if FULL else 200
# So many posts are in the file before the log begins, and so many in the log: less than what SQLite moves over by itself.
IN_FILE, IN_LOG = 20, 60
SEED = 20261124
NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
ACCOUNTS = ("acc_twitter", "acc_linkedin")
LONGEST_SECONDS = 30


def connect_accounts(store: Store) -> None:
    """Connect two accounts in the empty workspace."""
    with store.writing() as db:
        for position, name in enumerate(ACCOUNTS):
            db.execute(
                "INSERT INTO accounts VALUES (?, 'org_empty', ?, ?, ?, NULL, 'connected', NULL, 1, 1000, 0)",
                (name, position, name.removeprefix("acc_"), name),
            )


# C2


@dataclass
class Written:
    """A data folder whose last posts are only in the log; `ends` is the log's length after each response."""

    folder: Path
    texts: list[str] = field(default_factory=list[str])
    ends: list[int] = field(default_factory=list[int])


async def write_posts(folder: Path) -> Written:
    """Create posts over the API, then copy the files as they are at that moment."""
    written = Written(folder / "kept")
    with Sandbox(folder / "live", clock=ManualClock(NOW), empty=True) as sandbox:
        connect_accounts(sandbox.store)
        log = sandbox.folder / "sandbox.db-wal"
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        transport = httpx2.ASGITransport(sandbox.app)
        async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as client:
            for number in range(IN_FILE + IN_LOG):
                if number == IN_FILE:
                    busy, *_ = sandbox.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                    assert (busy, log.stat().st_size) == (0, 0)
                content = f"Post {number:03d}"
                answer = await client.post("/posts", json={"content": content, "accountIds": ACCOUNTS})
                assert answer.status_code == 201
                written.texts.append(content)
                if number >= IN_FILE:
                    written.ends.append(log.stat().st_size)
        written.folder.mkdir()
        for name in ("sandbox.db", "sandbox.db-wal"):
            shutil.copyfile(sandbox.folder / name, written.folder / name)
    return written


def damage_file(path: Path, offset: int, *, cut: bool, bit: int) -> None:
    """Truncate a file at an offset, or flip one bit there."""
    if cut:
        os.truncate(path, offset)
        return
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def reopen_store(path: Path) -> tuple[list[str], bool]:
    """Return the texts found after the damage in creation order, and whether everything is whole and usable."""
    with closing(Store(path)) as store:
        with store.reading() as db:
            found = [row["content"] for row in db.execute("SELECT content FROM posts ORDER BY sequence")]
            targets = Counter(row["post_id"] for row in db.execute("SELECT post_id FROM post_targets"))
            whole = (
                all(targets[row["id"]] == len(ACCOUNTS) for row in db.execute("SELECT id FROM posts"))
                and [tuple(row) for row in db.execute("PRAGMA integrity_check")] == [("ok",)]
                and not db.execute("PRAGMA foreign_key_check").fetchall()
            )
        with store.writing() as db:
            db.execute("INSERT INTO meta VALUES ('written', 'after the damage')")
    with closing(Store(path)) as store, store.reading() as db:
        usable = db.execute("SELECT count(*) FROM meta WHERE key = 'written'").fetchone()[0] == 1
    return found, whole and usable


def check_torn(written: Written, copies: int, folder: Path) -> Counter[str]:
    """The criteria of row C2, counted and asserted.

    What is there after a damage is a prefix of all posts, in the order of their making. It holds every post that was answered
    while the log ended before the damage, those in the file among them, and at most one more, whose answer was under way.
    """
    chance, length = random.Random(SEED), written.ends[-1]
    counts: Counter[str] = Counter()
    for number in range(copies):
        shutil.copytree(written.folder, folder, dirs_exist_ok=True)
        (folder / "sandbox.db-shm").unlink(missing_ok=True)
        # The head of the log is the rarest place and the most dangerous one.
        offset = chance.randrange(32) if number % 20 == 0 else chance.randrange(length)
        cut = number % 2 == 0
        damage_file(folder / "sandbox.db-wal", offset, cut=cut, bit=chance.randrange(8))
        counts["cut" if cut else "flipped"] += 1
        safe = IN_FILE + sum(end <= offset for end in written.ends)
        found, whole = reopen_store(folder / "sandbox.db")
        counts["not a prefix"] += found != written.texts[: len(found)]
        counts["answered posts lost"] += len(found) < safe
        counts["more than can be"] += len(found) > safe + 1
        counts["not whole"] += not whole
    print(f"\nC2: {copies} copies, seed {SEED}: {json.dumps(counts)}")  # noqa: T201 - each row prints its counts
    for criterion in ("not a prefix", "answered posts lost", "more than can be", "not whole"):
        assert counts[criterion] == 0, f"{criterion}: {counts[criterion]}"
    return counts


@pytest.mark.requirement("acceptance.c2")
async def test_torn_log_reopens_to_a_consistent_prefix(tmp_path: Path) -> None:
    """Row C2."""
    counts = check_torn(await write_posts(tmp_path), COPIES, tmp_path / "copy")
    assert counts["cut"] == counts["flipped"] == COPIES // 2


@pytest.mark.requirement("acceptance.c2")
async def test_c2_fails_when_a_post_takes_two_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut between the two leaves half a post."""
    insert = posts.insert_post

    def in_two(db: sqlite3.Connection, call: ApiRequest, wanted: posts.NewPost, account_ids: list[str]) -> str:
        post_id = insert(db, call, wanted, account_ids)
        kept = [tuple(row) for row in db.execute("SELECT * FROM post_targets WHERE post_id = ?", (post_id,))]
        db.execute("DELETE FROM post_targets WHERE post_id = ?", (post_id,))
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO post_targets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", kept)
        return post_id

    monkeypatch.setattr(posts, "insert_post", in_two)
    written = await write_posts(tmp_path)
    with pytest.raises(AssertionError, match="not whole"):
        check_torn(written, 40, tmp_path / "copy")


# C3


@dataclass
class Server:
    """`ttp-mcp sandbox` on a port, with the requests made and its output."""

    process: subprocess.Popen[str]
    folder: Path
    client: httpx2.Client
    created: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    counts: Counter[str] = field(default_factory=Counter[str])

    def create(self) -> bool:
        """Create a post and return whether it was created. A refusal has the documented shape."""
        content = f"Post {len(self.created) + len(self.refused):04d}"
        answer = self.client.post("/posts", json={"content": content, "accountIds": ACCOUNTS})
        if answer.status_code == 201:
            self.created.append(content)
            return True
        assert 500 <= answer.status_code < 600
        assert answer.json() == {"success": False, "message": "The sandbox failed; its log says why."}
        self.refused.append(content)
        return False

    def list(self) -> Counter[str]:
        answer = self.client.get("/posts")
        assert answer.status_code == 200
        return Counter(post["content"] for post in answer.json()["posts"])

    def check(self, title: str) -> None:
        """The criteria of row C3, counted and asserted."""
        assert self.process.poll() is None
        there = self.list()
        self.counts["created"], self.counts["refused"] = len(self.created), len(self.refused)
        self.counts["answered posts lost"] = sum(there[content] == 0 for content in self.created)
        self.counts["twice"] = sum(count > 1 for count in there.values())
        self.counts["refused and still there"] = sum(there[content] for content in self.refused)
        with closing(sqlite3.connect(self.folder / "sandbox.db")) as db:
            integrity = db.execute("PRAGMA integrity_check").fetchone()[0]
        print(f"\nC3, {title}: integrity {integrity}: {json.dumps(self.counts)}")  # noqa: T201 - each row prints its counts
        assert integrity == "ok"
        assert self.counts["answered posts lost"] == self.counts["twice"] == 0
        assert self.counts["refused"] > 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The command, over its own folder."""
    folder = tmp_path / "data"
    with Sandbox(folder, empty=True) as sandbox:
        connect_accounts(sandbox.store)
        token = tokens.create_token(sandbox.store, sandbox.clock, label="tests")
    command = [sys.executable, "-m", "ttp_mcp", "sandbox", "--data", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["api_url"]
    with httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=LONGEST_SECONDS
    ) as client:
        try:
            yield Server(process, folder, client)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LONGEST_SECONDS)
            process.stdout.close()


@contextmanager
def limit_file_size(process: subprocess.Popen[str], size: int) -> Generator[None]:
    """Fail writes beyond a file size, like a full disk."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def fail_calls(process: subprocess.Popen[str], call: str, error: str, when: str, notes: Path) -> Generator[None]:
    """Fail a process's n-th system call (`3`), or all from the n-th on (`3+`), until the block ends."""
    inject = f"inject={call}:error={error}:when={when}"
    command = ["strace", "-f", "-o", str(notes), "-e", f"trace={call}", "-e", inject, "-p", str(process.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        if "attached" not in (words := tracer.stderr.readline()):
            tracer.kill()
            pytest.skip(f"strace can't attach here: {words.strip()}")
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                tracer.send_signal(signal.SIGINT)
            tracer.stderr.read()


@pytest.mark.requirement("acceptance.c3")
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are a matter of Linux")
def test_full_disk_is_reported_and_survived(server: Server) -> None:
    """Row C3: the log's limit grows in steps until a post fits."""
    log = server.folder / "sandbox.db-wal"
    assert server.create()
    for room in range(0, 100_000, 1500 if FULL else 4000):
        with limit_file_size(server.process, log.stat().st_size + room):
            done = server.create()
            assert server.list()
        assert server.create(), "it does not recover"
        if done:
            break
    assert done
    server.check("no room")


@pytest.mark.requirement("acceptance.c3")
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are a matter of Linux")
def test_upload_to_a_full_disk_is_refused_and_leaves_nothing(server: Server) -> None:
    """Row C3, storage: 5xx, no file left, and a retry works."""
    assert server.create()
    data = bytes(1024 * 1024)
    body = {"filename": "a.png", "contentType": "image/png", "size": len(data)}

    def put() -> tuple[int, str]:
        presigned = server.client.post("/media/presign", json=body).json()
        with httpx2.Client(trust_env=False, timeout=LONGEST_SECONDS) as storage:
            answer = storage.put(presigned["uploadUrl"], content=data, headers={"Content-Type": "image/png"})
            return answer.status_code, presigned["publicUrl"]

    with limit_file_size(server.process, 500_000):
        status, address = put()
    assert 500 <= status < 600
    assert httpx2.get(address, trust_env=False).status_code == 404
    assert [path for path in (server.folder / "media").rglob("*") if path.is_file()] == []
    status, address = put()
    assert status == 200
    assert httpx2.get(address, trust_env=False).content == data


@pytest.mark.requirement("acceptance.c3")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("call", "error", "later"), [("pwrite64", "ENOSPC", "+"), ("fdatasync", "EIO", "")])
def test_every_failing_system_call_is_reported_and_survived(
    server: Server, tmp_path: Path, call: str, error: str, later: str
) -> None:
    """Row C3: the n-th system call of a request fails, for each n until none is left."""
    assert server.create()
    for number in range(1, 200):
        notes = tmp_path / f"{call}-{number}"
        with fail_calls(server.process, call, error, f"{number}{later}", notes):
            server.create()
        hit = "(INJECTED)" in notes.read_text()
        server.counts["hit"] += hit
        assert server.create(), "it does not recover"
        if not hit:
            break
    assert not hit
    server.check(f"{call} {error}")
