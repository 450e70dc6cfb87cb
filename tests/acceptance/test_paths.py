"""Row A6: no byte of a file outside the allowed folders is sent, by path tricks or swapped links."""

import os
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.media_files import build_png, build_png_chunk
from ttp_mcp.media import files, paths
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.files import open_below
from ttp_mcp.media.probe import examine_file

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.a6")]

RACE_SECONDS = 10.0 if os.environ.get("TTP_ACCEPTANCE") == "full" else 2.0
OURS = build_png(8, 8, build_png_chunk(b"tEXt", b"Comment\0ours"))
FOREIGN = build_png(8, 8, build_png_chunk(b"tEXt", b"Comment\0foreign"))
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def home_folder(tmp_path, monkeypatch):
    """A home with secrets, an allowed folder in it with every kind of trap, and a picture beside it."""
    home = tmp_path / "home"
    allowed = home / "media"
    (allowed / "trip").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "key.png").write_bytes(FOREIGN)
    (home / "media2").mkdir()
    for foreign in (home / "secret.png", home / "media2" / "secret.png", tmp_path / "top.png"):
        foreign.write_bytes(FOREIGN)
    for ours in (allowed / "photo.png", allowed / "trip" / "photo.png"):
        ours.write_bytes(OURS)
    (allowed / ".hidden").mkdir()
    (allowed / ".hidden" / "a.png").write_bytes(FOREIGN)
    (allowed / ".a.png").write_bytes(FOREIGN)
    (allowed / "link.png").symlink_to(home / "secret.png")
    (allowed / "relative.png").symlink_to("../secret.png")
    (allowed / "chain.png").symlink_to("link.png")
    (allowed / "loop.png").symlink_to("loop.png")
    (allowed / "inside.png").symlink_to("photo.png")
    (allowed / "up").symlink_to("..")
    (allowed / "root").symlink_to("/")
    (allowed / "proc.png").symlink_to("/proc/self/environ")
    os.link(home / "secret.png", allowed / "hard.png")
    os.mkfifo(allowed / "fifo.png")
    with suppress(PermissionError):
        os.mknod(allowed / "device.png", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    monkeypatch.chdir(allowed)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    (allowed / "folder.png").mkdir()
    (allowed / "empty.png").touch()
    (allowed / "key.png").write_bytes(KEY)
    (allowed / "key.jpg").write_bytes(KEY)
    (allowed / "env.png").write_bytes(b"TTP_API_TOKEN=secret")
    (allowed / "page.png").write_bytes(b"<!doctype html><script>")
    (allowed / "picture.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    (allowed / "archive.png").write_bytes(b"PK\3\4" + bytes(60))
    (allowed / "data.png").write_bytes(b"SQLite format 3\0" + bytes(60))
    (allowed / "program.png").write_bytes(b"\x7fELF" + bytes(60))
    (allowed / "poly.jpg").write_bytes(b"\xff\xd8\xff" + KEY)
    (allowed / "poly.gif").write_bytes(b"GIF89a")
    (allowed / "poly.png").write_bytes(OURS[:16] + bytes(8) + KEY)
    (allowed / "picture.txt").write_bytes(OURS)
    (allowed / "picture").write_bytes(OURS)
    monkeypatch.setenv("HOME", str(home))
    return home


def list_attacks(home):
    """Path and allowed folders of every attack; none may read anything."""
    top = home.parent
    media = (home / "media",)
    plain = [
        "../secret.png",
        "../media2/secret.png",
        "trip/../../secret.png",
        "trip/../photo.png",
        "./../secret.png",
        "./~/media/photo.png",
        "./.hidden/a.png",
        "./link.png",
        "trip/./photo.png",
        "trip//photo.png",
        "//photo.png",
        "photo.png/",
        "photo.png/.",
        "photo.png/..",
        "",
        ".",
        "..",
        "/",
        "~",
        "~/secret.png",
        "~/media/../secret.png",
        "~/media2/secret.png",
        "~root/secret.png",
        "..\\secret.png",
        "trip\\photo.png",
        "photo.png\0",
        "photo.png\0.jpg",
        "\0",
        "photo\n.png",
        "\x1b[2Jphoto.png",
        "gnp.\u202eotohp",
        "ph\u2066oto.png",
        "\ufeffphoto.png",
        "ph\udc80oto.png",
        ".a.png",
        ".hidden/a.png",
        "link.png",
        "relative.png",
        "chain.png",
        "loop.png",
        "inside.png",
        "up/secret.png",
        "up/media/photo.png",
        f"root{home}/secret.png",
        "proc.png",
        "hard.png",
        "fifo.png",
        "device.png",
        "socket.png",
        "folder.png",
        "empty.png",
        "key.png",
        "key.jpg",
        "env.png",
        "page.png",
        "picture.svg",
        "archive.png",
        "data.png",
        "program.png",
        "poly.jpg",
        "poly.gif",
        "poly.png",
        "picture.txt",
        "picture",
        f"{home}/secret.png",
        f"{home}/media2/secret.png",
        f"{home}/media/../secret.png",
        f"{home}/media/up/secret.png",
        f"file://{home}/secret.png",
        f"file://{home}/media/..%2Fsecret.png",
        f"file://{home}/media/%2e%2e/secret.png",
        f"file://host{home}/media/photo.png",
        "/proc/self/environ",
        "/proc/self/cwd/photo.png",
        "/proc/self/root/etc/passwd",
        "/dev/stdin",
        "/dev/fd/0",
        "x" * 5000,
        "a/" * 2000 + "photo.png",
    ]
    wide = [
        ("secret.png", (home,)),
        ("top.png", (top,)),
        (f"{str(top)[1:]}/top.png", (Path("/"),)),
        ("key.png", (home / ".ssh" / "..",)),
    ]
    return [(path, media) for path in plain] + wide


def read_upload(path, folders):
    """Return the bytes that would be uploaded, or None if refused without naming a folder of this machine."""
    try:
        with open_below(path, folders) as file:
            examine_file(file.read_at, file.size, file.name)
            return file.read_at(0, file.size)
    except FileRefused as refusal:
        assert str(folders[0].parent) not in str(refusal) or folders[0] == Path("/")
        return None


def check_paths(home):
    """Check that every attack is refused and every honest path isn't; returns the number of both."""
    through = [path for path, folders in list_attacks(home) if read_upload(path, folders) is not None]
    assert through == []
    media = home / "media"
    honest = [
        "photo.png",
        "trip/photo.png",
        str(media / "photo.png"),
        "~/media/trip/photo.png",
        f"file://{media}/photo.png",
    ]
    assert [read_upload(path, (media,)) for path in honest] == [OURS] * len(honest)
    return len(list_attacks(home)), len(honest)


def test_a6_every_path_attack_is_refused(home_folder):
    """Traversal, links, special files, hidden names, renamed secrets, folders that contain too much."""
    refused, honest = check_paths(home_folder)
    print(f"\nA6: {refused} attacks refused, {honest} honest paths read")  # noqa: T201 - the row's counts
    assert refused >= 60


def refuse_only_nul(parts, system):
    """Refuse only what the system itself would refuse."""
    if "\0" in "".join(parts):
        raise FileRefused("Not uploaded.")


GUARDS = {
    "links": lambda patch: patch.setattr(os, "O_NOFOLLOW", 0),
    "parts": lambda patch: patch.setattr(files, "check_parts", refuse_only_nul),
    "regular file, one name": lambda patch: patch.setattr(files, "_find_problem", lambda found: None),
    "folders": lambda patch: patch.setattr(files, "_resolve_root", lambda root, number: root.resolve()),
    "types": lambda patch: patch.setitem(globals(), "examine_file", lambda read_at, size, name: None),
    "file URLs": lambda patch: patch.setattr(paths, "_parse_file_url", lambda url, system: url.split("media/")[-1]),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_a6_fails_without_each_guard(home_folder, monkeypatch, guard):
    (home_folder / "media" / "fifo.png").unlink()
    GUARDS[guard](monkeypatch)
    with pytest.raises(AssertionError):
        check_paths(home_folder)


def read_during_swaps(home, seconds):
    """Read while a thread swaps a file and a folder for outside links; counts what was read."""
    media = home / "media"
    inside, outside = media / "inside", home / "outside"
    for folder, content in ((inside, OURS), (outside, FOREIGN)):
        folder.mkdir()
        (folder / "photo.png").write_bytes(content)
    over = threading.Event()

    def swap():
        while not over.is_set():
            for link, good, bad in (
                (media / "swapped", inside, outside),
                (media / "file.png", None, home / "secret.png"),
            ):
                other = media / "other"
                with suppress(FileNotFoundError):
                    other.unlink()
                if link.is_symlink() or not link.exists():
                    if good is None:
                        other.write_bytes(OURS)
                        other.replace(link)
                    else:
                        link.unlink(missing_ok=True)
                        good.rename(link)
                elif good is None:
                    other.symlink_to(bad)
                    other.replace(link)
                else:
                    link.rename(good)
                    link.symlink_to(bad)

    thread = threading.Thread(target=swap)
    thread.start()
    counts = {"ours": 0, "foreign": 0, "refused": 0}
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and not counts["foreign"]:
            for path in ("swapped/photo.png", "file.png"):
                content = read_upload(path, (media,))
                counts["refused" if content is None else "ours" if content == OURS else "foreign"] += 1
    finally:
        over.set()
        thread.join()
    return counts


def check_race(home, seconds):
    """Check that only our file was read, and at least once."""
    counts = read_during_swaps(home, seconds)
    assert counts["foreign"] == 0
    assert counts["ours"] > 0
    return counts


def test_a6_swapped_links_are_never_followed(home_folder):
    """A walk from the folder's descriptor opens the file or a link, never the link's target."""
    counts = check_race(home_folder, RACE_SECONDS)
    print(f"\nA6 race: {counts} in {RACE_SECONDS:.0f} s")  # noqa: T201 - the row's counts


def test_a6_race_fails_when_links_are_followed(home_folder, monkeypatch):
    """Proves that the race happens."""
    monkeypatch.setattr(os, "O_NOFOLLOW", 0)
    with pytest.raises(AssertionError):
        check_race(home_folder, 30.0)
