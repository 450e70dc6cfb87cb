"""Each line of check_setup, in each of its states."""

import os
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from inline_snapshot import snapshot

from tests.support.windows import WINDOWS
from tests.tools.conftest import Fault, answer_reads
from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.sandbox.rest import organizations

pytestmark = pytest.mark.requirement("tools.setup")


READ_FAILED = (
    "notice: Not read: the API, or a gateway before it, failed (500). API said: «Not here.». "
    "Nothing was changed; trying again is safe."
)


async def read_lines(agent, name):
    """Return the lines of one name, as `state: text`."""
    _, data = await agent.expect_ok("check_setup")
    return [f"{item['state']}: {item['text']}" for item in data["items"] if item["name"] == name]


async def test_setup_checks_everything_in_order(connect_agent, tmp_path):
    """One line each; the heading counts the problems."""
    async with connect_agent(media_dirs=(tmp_path,)) as agent:
        text, data = await agent.expect_ok("check_setup")
    assert agent.format_text(text.replace(str(tmp_path), "<folder>")) == snapshot("""\
1 problem found.
ok      token: accepted by the local sandbox, where nothing is public. For a real account restart this server
    without --sandbox and set TTP_API_TOKEN
ok      rights: user «Demo User», organization «Harbor Café»; it can publish
ok      accounts: 5 of 6 accounts connected: instagram @harbor.cafe, twitter @harborcafe, linkedin «Harbor
    Café», tiktok @harbor.cafe and pinterest @harborcafe
PROBLEM account: twitter @harborcafe_berlin is expired; posts to it fail until a person reconnects it in the
    TimeToPost dashboard.
ok      best times: available, from 128 data points
ok      clock: agrees with the API's
ok      time zone: Europe/Paris, for times without an offset (TTP_TIMEZONE); now Tue 24 Nov 2026 09:02
    Europe/Paris (08:02Z)
ok      access: full: tools may publish and delete (TTP_ACCESS)
ok      confirmation: auto: the user confirms irreversible actions, if the client can ask (TTP_CONFIRM)
ok      media folders: «<folder>» (TTP_MEDIA_DIRS)
ok      ledger: works: nothing is sent twice\
""")
    assert not data["ok"]
    assert [item["name"] for item in data["items"] if item["state"] == "problem"] == ["account"]


async def test_setup_without_problems_is_reported(connect_agent):
    """The expired account is reconnected."""
    async with connect_agent() as agent:
        with agent.sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET status = 'connected', expires_at = NULL")
        text, data = await agent.expect_ok("check_setup")
    assert text.startswith("Everything needed works.\n")
    assert data["ok"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (401, ("token", "problem: Not usable: the API did not accept the token (401).")),
        (
            403,
            (
                "API",
                "problem: http://sandbox.localhost/api. Not reached: the plan or the permissions don't allow it (403).",
            ),
        ),
        (404, ("API", "problem: http://sandbox.localhost/api. Not reached: not found (404)")),
        (
            500,
            (
                "API",
                "problem: http://sandbox.localhost/api. Not reached: the API, or a gateway before it, failed (500).",
            ),
        ),
        ([], ("accounts", "problem: none is connected. A person connects accounts in the TimeToPost dashboard.")),
    ],
)
async def test_first_reply_of_the_api_decides(connect_agent, reply, words):
    """An expired token, a wrong address, an outage, a workspace without accounts."""
    async with connect_agent(through=answer_reads({"/integrations": reply})) as agent:
        name, start = words
        (line,) = await read_lines(agent, name)
        assert line.startswith(start)
        _, data = await agent.expect_ok("check_setup")
        names = {item["name"] for item in data["items"]}
        assert not data["ok"]
        assert names >= {"time zone", "access", "confirmation", "media folders", "ledger"}
        assert ("clock" in names) == (reply == [])


async def test_unreachable_api_is_reported(connect_agent):
    """A wrong URL, or no network."""
    async with connect_agent(through=Fault) as agent:
        agent.sandbox.app.turn, agent.sandbox.app.lasting = 0, True
        (line,) = await read_lines(agent, "API")
    assert line.startswith("problem: http://sandbox.localhost/api. Not reached: no response.")


async def test_real_token_is_named_by_its_fingerprint(connect_agent):
    """So that the user recognizes it; with the organization, if one is selected."""
    async with connect_agent(org_id="org_harbor_cafe") as agent:
        agent.runtime.server._context_of = lambda _: replace(agent.runtime.app, sandbox=False)
        (line,) = await read_lines(agent, "token")
        fingerprint = agent.runtime.app.api.token.fingerprint
    assert line == (
        f"ok: accepted (fingerprint {fingerprint}) by http://sandbox.localhost/api; organization «org_harbor_cafe»"
    )


@pytest.mark.parametrize(
    ("days", "refreshes", "reported"), [(3, 0, True), (3, 1, False), (8, 0, False)], ids=["soon", "refreshes", "later"]
)
async def test_connection_that_expires_soon_is_a_notice(agent, clock, days, refreshes, reported):
    """Unless it renews itself."""
    ends = int((clock.now() + timedelta(days=days)).timestamp() * 1000)
    with agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'connected', expires_at = NULL")
        db.execute(
            "UPDATE accounts SET expires_at = ?, has_refresh_capability = ? WHERE platform = 'linkedin'",
            (ends, refreshes),
        )
    found = await read_lines(agent, "account")
    words = (
        "notice: linkedin «Harbor Café»: its connection ends Fri 27 Nov 2026 09:02 Europe/Paris (08:02Z). "
        "Reconnect it before then in the TimeToPost dashboard."
    )
    assert found == ([words] if reported else [])


async def test_missing_status_is_not_a_problem(connect_agent):
    """The reference guarantees only ids."""
    async with connect_agent(through=answer_reads({"/integrations": [{"id": "acc_1"}]})) as agent:
        assert await read_lines(agent, "accounts") == ["ok: 1 of 1 account connected: not stated acc_1"]
        assert await read_lines(agent, "account") == []


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (403, "notice: not part of this plan; plan_posts then spreads posts over common hours."),
        ({"bestHours": [{"hour": 9}]}, "ok: available, data points not stated"),
        ({"bestHours": [], "dataPoints": 3}, "ok: available, from 3 data points, a small sample"),
    ],
)
async def test_best_times_are_a_feature_of_the_plan(connect_agent, reply, line):
    """Their absence isn't a problem."""
    async with connect_agent(through=answer_reads({"/analytics/optimal-times": reply})) as agent:
        assert await read_lines(agent, "best times") == [line]


async def test_small_plan_of_the_sandbox_has_no_best_times(agent):
    """Like that plan of the API."""
    organizations.set_plan(agent.sandbox.store, "org_harbor_cafe", "small")
    assert (await read_lines(agent, "best times"))[0].startswith("notice: not part of this plan")


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (120, "notice: this machine is 120 s behind the API; times are judged by the API's clock."),
        (-90, "notice: this machine is 90 s ahead of the API; times are judged by the API's clock."),
        (3, "ok: agrees with the API's"),
    ],
)
async def test_clock_is_compared_with_the_api(connect_agent, seconds, line):
    """A wrong clock would give wrong times."""
    async with connect_agent(behind_seconds=seconds) as agent:
        assert await read_lines(agent, "clock") == [line]


async def test_api_without_a_date_is_reported(connect_agent):
    """This machine's clock is used then."""
    async with connect_agent(
        through=answer_reads({"/integrations": [{"id": "a"}], "/auth/me": 404, "/analytics/optimal-times": 403})
    ) as agent:
        assert await read_lines(agent, "clock") == [
            "notice: the API sent no `Date` header, so the clock can't be checked."
        ]


@pytest.mark.parametrize(
    ("changes", "name", "line"),
    [
        ({"access": "read"}, "access", "ok: read: tools only look (TTP_ACCESS)"),
        ({"access": "draft"}, "access", "ok: draft: nothing is published or deleted (TTP_ACCESS)"),
        (
            {"confirm": "required"},
            "confirmation",
            "ok: required: the user confirms every publish and delete (TTP_CONFIRM)",
        ),
        ({"confirm": "off"}, "confirmation", "notice: off: the user is never asked (TTP_CONFIRM)"),
    ],
)
async def test_settings_are_described(connect_agent, changes, name, line):
    """With the variable that changes them."""
    async with connect_agent(**changes) as agent:
        assert await read_lines(agent, name) == [line]


async def test_refused_folders_are_problems_without_their_paths(connect_agent, tmp_path, monkeypatch):
    """With the reason that upload_media gives; the path is private."""
    monkeypatch.setenv("USERPROFILE" if WINDOWS else "HOME", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    async with connect_agent(media_dirs=(tmp_path / "gone", tmp_path / "pictures", tmp_path)) as agent:
        advice = (
            "so upload_media reads no file. Name a folder in its place that holds only media, and restart this server."
        )
        assert await read_lines(agent, "media folders") == [
            f"problem: entry 1 of TTP_MEDIA_DIRS does not exist or can't be read, {advice}",
            f"problem: entry 3 of TTP_MEDIA_DIRS is your home folder or holds it, {advice}",
        ]
        refused = await agent.expect_error("upload_media", source="a.png")
        assert refused.startswith("Not uploaded: entry 1 of TTP_MEDIA_DIRS does not exist or can't be read. ")


async def test_remote_server_has_no_folders(connect_agent, tmp_path):
    """Over HTTP its files aren't the user's."""
    async with connect_agent(media_dirs=(tmp_path,)) as agent:
        agent.runtime.server._context_of = lambda _: replace(agent.runtime.app, local_files=False)
        assert await read_lines(agent, "media folders") == ["ok: none over HTTP: files of the server are never read"]


class BrokenState:
    """A store that can't be used."""

    def __getattr__(self, name):
        async def fail(*_, **__):
            raise LedgerProblem("the state folder can't be written (no space). Free some, then call again.")

        return fail


async def test_broken_ledger_stops_writes_and_is_reported(connect_agent):
    """Without it the same post could be published twice."""
    async with connect_agent(demo_posts=False) as agent:
        agent.runtime.app.ledger._store._store = BrokenState()
        assert await read_lines(agent, "ledger") == [
            "problem: nothing can be published or deleted: the state folder can't be written (no space). Free some, then call again."
        ]
        words = await agent.expect_error("create_post", content="Words", platforms=["linkedin"])
        assert words.startswith("Post not created: the state folder can't be written (no space).")
        assert agent.list_posts() == []


async def test_unresolved_write_is_reported_at_once(agent, clock):
    """As in progress while a process may be at it, afterwards as possibly done."""
    post = PostCreate("Doors open at ten", platforms=("linkedin",))
    await agent.runtime.app.ledger.begin_create(post, tool="create_post")
    await agent.runtime.app.ledger.begin_delete("cmb1", None, tool="delete_post")
    when = "Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z)"
    soon = "It may still happen; look with list_posts in two minutes."
    assert sorted(await read_lines(agent, "unfinished")) == [
        f"notice: one write is still open, the create of {when} (create_post): «Doors open at ten». {soon}",
        f"notice: one write is still open, the delete of {when} (delete_post): cmb1. {soon}",
    ]
    clock.move(120)
    assert sorted(await read_lines(agent, "unfinished")) == [
        f"notice: the create of {when} (create_post) ended without an outcome: «Doors open at ten». {LOOK}",
        f"notice: the delete of {when} (delete_post) ended without an outcome: cmb1. {LOOK}",
    ]


async def test_ledger_that_others_can_read_is_a_notice(empty_agent):
    """It contains post texts; the suggested command suits this system."""
    await create_draft(empty_agent)
    path = empty_agent.runtime.app.settings.state_dir / "ledger.db"
    path.chmod(0o644)
    (_, line) = await read_lines(empty_agent, "ledger")
    assert line.startswith("notice: ledger.db can be read by ")
    # On Windows the files that SQLite adds inherit the access list of the folder.
    assert str(path.parent if WINDOWS else path) in line


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
async def test_token_file_that_others_can_read_is_a_notice(connect_agent, tmp_path):
    """With the command that fixes it; the sandbox's own token isn't secret."""
    path = tmp_path / "token file"
    path.write_text("ttp_" + "0a" * 24)
    path.chmod(0o644)
    async with connect_agent(token_file=path) as agent:
        assert not [line for line in await read_lines(agent, "token") if line.startswith("notice")]
        agent.runtime.server._context_of = lambda _: replace(agent.runtime.app, sandbox=False)
        _, line = await read_lines(agent, "token")
        assert line == f"notice: its file can be read by other users. Run: chmod 600 '{path}'"
        path.chmod(0o600)
        (line,) = await read_lines(agent, "token")
        assert line.startswith("ok: ")


LOOK = "It may have happened; look with list_posts."
WANTED = PostCreate("Doors open at ten", platforms=("linkedin",))


async def begin_replacement(agent, clock, old_id, *, made):
    """Begin a replacement in a process that dies; returns the id of the new post."""
    writes, ledger = agent.runtime.app.writer, agent.runtime.app.ledger
    await ledger.replacements.begin(old_id, WANTED)
    created = await writes.create(WANTED, tool="reschedule_post", replaces=old_id) if made else None
    clock.move(3600)
    return created.post_id if created else None


async def create_draft(agent):
    """Return the id of a draft."""
    _, data = await agent.expect_ok("create_post", content="There before", platforms=["linkedin"])
    return data["post_id"]


async def test_unfinished_replacement_is_a_problem_while_both_posts_exist(empty_agent, clock):
    """Both could be published."""
    old = await create_draft(empty_agent)
    new = await begin_replacement(empty_agent, clock, old, made=True)
    (line,) = await read_lines(empty_agent, "half replaced")
    assert line == (
        "problem: reschedule_post of Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z) did not end: "
        f"{old} and its replacement {new} both exist. The same call again finishes it; delete_post removes the "
        "unwanted one."
    )
    await empty_agent.expect_ok("delete_post", post_id=old)
    assert await read_lines(empty_agent, "half replaced") == []


async def test_replacement_with_unknown_create_is_to_be_searched(empty_agent, clock):
    """The ledger has no id."""
    old = await create_draft(empty_agent)
    await begin_replacement(empty_agent, clock, old, made=False)
    (line,) = await read_lines(empty_agent, "half replaced")
    assert f"did not end: a replacement of {old} may have been made. Check with list_posts" in line


async def test_unreadable_half_replaced_post_is_reported(connect_agent, clock):
    """From the ledger alone."""
    async with connect_agent(demo_posts=False) as plain:
        old = await create_draft(plain)
        await begin_replacement(plain, clock, old, made=False)
        async with connect_agent(sandbox=plain.sandbox, through=answer_reads({f"/posts/{old}": 403})) as agent:
            assert len(await read_lines(agent, "half replaced")) == 1


async def test_undetected_zone_is_a_notice(connect_agent):
    """Times without an offset would silently be read as UTC."""
    async with connect_agent(zone=ZoneInfo("UTC"), zone_is_known=False) as agent:
        text, _ = await agent.expect_ok("check_setup")
    (line,) = [line for line in text.splitlines() if " time zone: " in line]
    assert line.startswith("notice")
    assert "Set TTP_TIMEZONE to an IANA name" in line


@pytest.mark.parametrize(
    ("zone", "notice"),
    [
        ("EST", "notice: EST has no summer time: set TTP_TIMEZONE to America/New_York if you mean local time there."),
        ("HST", "notice: HST has no summer time: set TTP_TIMEZONE to America/Adak"),
        (
            "Etc/GMT+5",
            "notice: Etc/GMT+5 is a fixed offset without summer time: set TTP_TIMEZONE to the zone of a city",
        ),
        ("America/Phoenix", "ok: America/Phoenix, for times without an offset"),
    ],
)
async def test_zone_without_summer_time_suggests_the_right_one(connect_agent, zone, notice):
    """In July, 10:00 in New York isn't 10:00 EST."""
    async with connect_agent(zone=ZoneInfo(zone)) as agent:
        (line,) = await read_lines(agent, "time zone")
    assert line.startswith(notice)
