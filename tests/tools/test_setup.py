"""Each line of check_setup, in each of its states."""

import os
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from inline_snapshot import snapshot

from tests.support.windows import WINDOWS
from tests.tools.conftest import Fault, reading
from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.sandbox.rest import organizations

pytestmark = pytest.mark.requirement("tools.setup")


READ_FAILED = (
    "notice: Not read: the API, or a gateway before it, failed (500). API said: «Not here.». "
    "Nothing was changed; trying again is safe."
)


async def lines(agent, name):
    """Return the lines of one name, as `state: text`."""
    _, data = await agent.ok("check_setup")
    return [f"{item['state']}: {item['text']}" for item in data["items"] if item["name"] == name]


async def test_setup_checks_everything_in_order(connect, tmp_path):
    """One line each; the heading counts the problems."""
    async with connect(media_dirs=(tmp_path,)) as agent:
        text, data = await agent.ok("check_setup")
    assert agent.shown(text.replace(str(tmp_path), "<folder>")) == snapshot("""\
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


async def test_setup_without_problems_is_reported(connect):
    """The expired account is reconnected."""
    async with connect() as agent:
        with agent.sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET status = 'connected', expires_at = NULL")
        text, data = await agent.ok("check_setup")
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
async def test_first_reply_of_the_api_decides(connect, reply, words):
    """An expired token, a wrong address, an outage, a workspace without accounts."""
    async with connect(through=reading({"/integrations": reply})) as agent:
        name, start = words
        (line,) = await lines(agent, name)
        assert line.startswith(start)
        _, data = await agent.ok("check_setup")
        names = {item["name"] for item in data["items"]}
        assert not data["ok"]
        assert names >= {"time zone", "access", "confirmation", "media folders", "ledger"}
        assert ("clock" in names) == (reply == [])


async def test_unreachable_api_is_reported(connect):
    """A wrong URL, or no network."""
    async with connect(through=Fault) as agent:
        agent.sandbox.app.turn, agent.sandbox.app.lasting = 0, True
        (line,) = await lines(agent, "API")
    assert line.startswith("problem: http://sandbox.localhost/api. Not reached: no response.")


async def test_real_token_is_named_by_its_fingerprint(connect):
    """So that the user recognizes it; with the organization, if one is selected."""
    async with connect(org_id="org_harbor_cafe") as agent:
        agent.assembly.server._context_of = lambda _: replace(agent.assembly.app, sandbox=False)
        (line,) = await lines(agent, "token")
        fingerprint = agent.assembly.app.api.token.fingerprint
    assert line == (
        f"ok: accepted (fingerprint {fingerprint}) by http://sandbox.localhost/api; organization «org_harbor_cafe»"
    )


@pytest.mark.parametrize(
    ("days", "refreshes", "told"), [(3, 0, True), (3, 1, False), (8, 0, False)], ids=["soon", "refreshes", "later"]
)
async def test_connection_that_expires_soon_is_a_notice(agent, clock, days, refreshes, told):
    """Unless it renews itself."""
    ends = int((clock.now() + timedelta(days=days)).timestamp() * 1000)
    with agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'connected', expires_at = NULL")
        db.execute(
            "UPDATE accounts SET expires_at = ?, has_refresh_capability = ? WHERE platform = 'linkedin'",
            (ends, refreshes),
        )
    found = await lines(agent, "account")
    words = (
        "notice: linkedin «Harbor Café»: its connection ends Fri 27 Nov 2026 09:02 Europe/Paris (08:02Z). "
        "Reconnect it before then in the TimeToPost dashboard."
    )
    assert found == ([words] if told else [])


async def test_missing_status_is_not_a_problem(connect):
    """The reference guarantees only ids."""
    async with connect(through=reading({"/integrations": [{"id": "acc_1"}]})) as agent:
        assert await lines(agent, "accounts") == ["ok: 1 of 1 account connected: not stated acc_1"]
        assert await lines(agent, "account") == []


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (403, "notice: not part of this plan; plan_posts then spreads posts over common hours."),
        ({"bestHours": [{"hour": 9}]}, "ok: available, data points not stated"),
        ({"bestHours": [], "dataPoints": 3}, "ok: available, from 3 data points, a small sample"),
    ],
)
async def test_best_times_are_a_feature_of_the_plan(connect, reply, line):
    """Their absence isn't a problem."""
    async with connect(through=reading({"/analytics/optimal-times": reply})) as agent:
        assert await lines(agent, "best times") == [line]


async def test_small_plan_of_the_sandbox_has_no_best_times(agent):
    """Like that plan of the API."""
    organizations.set_plan(agent.sandbox.store, "org_harbor_cafe", "small")
    assert (await lines(agent, "best times"))[0].startswith("notice: not part of this plan")


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (120, "notice: this machine is 120 s behind the API; times are judged by the API's clock."),
        (-90, "notice: this machine is 90 s ahead of the API; times are judged by the API's clock."),
        (3, "ok: agrees with the API's"),
    ],
)
async def test_clock_is_compared_with_the_api(connect, seconds, line):
    """A wrong clock would give wrong times."""
    async with connect(behind_seconds=seconds) as agent:
        assert await lines(agent, "clock") == [line]


async def test_api_without_a_date_is_reported(connect):
    """This machine's clock is used then."""
    async with connect(
        through=reading({"/integrations": [{"id": "a"}], "/auth/me": 404, "/analytics/optimal-times": 403})
    ) as agent:
        assert await lines(agent, "clock") == ["notice: the API sent no `Date` header, so the clock can't be checked."]


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
async def test_settings_are_described(connect, changes, name, line):
    """With the variable that changes them."""
    async with connect(**changes) as agent:
        assert await lines(agent, name) == [line]


async def test_refused_folders_are_problems_without_their_paths(connect, tmp_path, monkeypatch):
    """With the reason that upload_media gives; the path is private."""
    monkeypatch.setenv("USERPROFILE" if WINDOWS else "HOME", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    async with connect(media_dirs=(tmp_path / "gone", tmp_path / "pictures", tmp_path)) as agent:
        advice = (
            "so upload_media reads no file. Name a folder in its place that holds only media, and restart this server."
        )
        assert await lines(agent, "media folders") == [
            f"problem: entry 1 of TTP_MEDIA_DIRS does not exist or can't be read, {advice}",
            f"problem: entry 3 of TTP_MEDIA_DIRS is your home folder or holds it, {advice}",
        ]
        refused = await agent.refused("upload_media", source="a.png")
        assert refused.startswith("Not uploaded: entry 1 of TTP_MEDIA_DIRS does not exist or can't be read. ")


async def test_remote_server_has_no_folders(connect, tmp_path):
    """Over HTTP its files aren't the user's."""
    async with connect(media_dirs=(tmp_path,)) as agent:
        agent.assembly.server._context_of = lambda _: replace(agent.assembly.app, local_files=False)
        assert await lines(agent, "media folders") == ["ok: none over HTTP: files of the server are never read"]


class BrokenState:
    """A store that can't be used."""

    def __getattr__(self, name):
        async def fail(*_, **__):
            raise LedgerProblem("the state folder can't be written (no space). Free some, then call again.")

        return fail


async def test_broken_ledger_stops_writes_and_is_reported(connect):
    """Without it the same post could be published twice."""
    async with connect(demo_posts=False) as agent:
        agent.assembly.app.ledger._store._store = BrokenState()
        assert await lines(agent, "ledger") == [
            "problem: nothing can be published or deleted: the state folder can't be written (no space). Free some, then call again."
        ]
        words = await agent.refused("create_post", content="Words", platforms=["linkedin"])
        assert words.startswith("Post not created: the state folder can't be written (no space).")
        assert agent.standing() == []


async def test_unresolved_write_is_reported_at_once(agent, clock):
    """As in progress while a process may be at it, afterwards as possibly done."""
    post = PostCreate("Doors open at ten", platforms=("linkedin",))
    await agent.assembly.app.ledger.begin_create(post, tool="create_post")
    await agent.assembly.app.ledger.begin_delete("cmb1", None, tool="delete_post")
    when = "Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z)"
    soon = "It may still happen; look with list_posts in two minutes."
    assert sorted(await lines(agent, "unfinished")) == [
        f"notice: one write is still open, the create of {when} (create_post): «Doors open at ten». {soon}",
        f"notice: one write is still open, the delete of {when} (delete_post): cmb1. {soon}",
    ]
    clock.move(120)
    assert sorted(await lines(agent, "unfinished")) == [
        f"notice: the create of {when} (create_post) ended without an outcome: «Doors open at ten». {LOOK}",
        f"notice: the delete of {when} (delete_post) ended without an outcome: cmb1. {LOOK}",
    ]


async def test_ledger_that_others_can_read_is_a_notice(fresh):
    """It contains post texts; the suggested command suits this system."""
    await draft(fresh)
    path = fresh.assembly.app.settings.state_dir / "ledger.db"
    path.chmod(0o644)
    (_, line) = await lines(fresh, "ledger")
    assert line.startswith("notice: ledger.db can be read by ")
    # On Windows the files that SQLite adds inherit the access list of the folder.
    assert str(path.parent if WINDOWS else path) in line


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
async def test_token_file_that_others_can_read_is_a_notice(connect, tmp_path):
    """With the command that fixes it; the sandbox's own token isn't secret."""
    path = tmp_path / "token file"
    path.write_text("ttp_" + "0a" * 24)
    path.chmod(0o644)
    async with connect(token_file=path) as agent:
        assert not [line for line in await lines(agent, "token") if line.startswith("notice")]
        agent.assembly.server._context_of = lambda _: replace(agent.assembly.app, sandbox=False)
        _, line = await lines(agent, "token")
        assert line == f"notice: its file can be read by other users. Run: chmod 600 '{path}'"
        path.chmod(0o600)
        (line,) = await lines(agent, "token")
        assert line.startswith("ok: ")


LOOK = "It may have happened; look with list_posts."
WANTED = PostCreate("Doors open at ten", platforms=("linkedin",))


async def half(agent, clock, old_id, *, made):
    """Begin a replacement in a process that dies; returns the id of the new post."""
    writes, ledger = agent.assembly.app.writer, agent.assembly.app.ledger
    await ledger.replacements.begin(old_id, WANTED)
    created = await writes.create(WANTED, tool="reschedule_post", replaces=old_id) if made else None
    clock.move(3600)
    return created.post_id if created else None


async def draft(agent):
    """Return the id of a draft."""
    _, data = await agent.ok("create_post", content="There before", platforms=["linkedin"])
    return data["post_id"]


async def test_unfinished_replacement_is_a_problem_while_both_posts_exist(fresh, clock):
    """Both could be published."""
    old = await draft(fresh)
    new = await half(fresh, clock, old, made=True)
    (line,) = await lines(fresh, "half replaced")
    assert line == (
        "problem: reschedule_post of Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z) did not end: "
        f"{old} and its replacement {new} both exist. The same call again finishes it; delete_post removes the "
        "unwanted one."
    )
    await fresh.ok("delete_post", post_id=old)
    assert await lines(fresh, "half replaced") == []


async def test_replacement_with_unknown_create_is_to_be_searched(fresh, clock):
    """The ledger has no id."""
    old = await draft(fresh)
    await half(fresh, clock, old, made=False)
    (line,) = await lines(fresh, "half replaced")
    assert f"did not end: a replacement of {old} may have been made. Check with list_posts" in line


async def test_unreadable_half_replaced_post_is_reported(connect, clock):
    """From the ledger alone."""
    async with connect(demo_posts=False) as plain:
        old = await draft(plain)
        await half(plain, clock, old, made=False)
        async with connect(sandbox=plain.sandbox, through=reading({f"/posts/{old}": 403})) as agent:
            assert len(await lines(agent, "half replaced")) == 1


async def test_undetected_zone_is_a_notice(connect):
    """Times without an offset would silently be read as UTC."""
    async with connect(zone=ZoneInfo("UTC"), zone_is_known=False) as agent:
        text, _ = await agent.ok("check_setup")
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
async def test_zone_without_summer_time_suggests_the_right_one(connect, zone, notice):
    """In July, 10:00 in New York isn't 10:00 EST."""
    async with connect(zone=ZoneInfo(zone)) as agent:
        (line,) = await lines(agent, "time zone")
    assert line.startswith(notice)
