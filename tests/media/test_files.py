"""Opening a local file below the allowed folders."""

import ctypes
import errno
import os
import socket
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import psutil
import pytest

from tests.support.windows import skip_on_windows
from ttp_mcp.media import files
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.files import EXAMPLE_FOLDER, MOST_BYTES, folder_problems, open_below

pytestmark = pytest.mark.requirement("uploads.allowed")

WINDOWS = sys.platform == "win32"
needs_links = pytest.mark.skipif(WINDOWS, reason="Windows makes no links without a privilege")
needs_posix_names = pytest.mark.skipif(WINDOWS, reason="Windows has no such names")
needs_posix_paths = pytest.mark.skipif(WINDOWS, reason="written as a POSIX path")
needs_descriptors = pytest.mark.skipif(WINDOWS, reason="Windows opens by path and has no file descriptors of processes")

HELD = "Not uploaded: «photo.jpg»: another program holds it. Close it there; nothing was sent, repeating is safe."
SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An allowed folder with a picture in it and one below it; a secret beside it; a home elsewhere."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("USERPROFILE" if WINDOWS else "HOME", str(home))
    allowed = tmp_path / "allowed"
    (allowed / "trip").mkdir(parents=True)
    (allowed / "photo.jpg").write_bytes(b"picture")
    (allowed / "trip" / "beach.jpg").write_bytes(b"beach")
    (tmp_path / "secret.jpg").write_bytes(SECRET)
    return allowed


def read_refusal(source, *roots):
    """The words of a refusal."""
    with pytest.raises(FileRefused) as caught:
        open_below(source, roots)
    return str(caught.value)


def read_content(source, *roots):
    """All bytes of a file that opens."""
    with open_below(source, roots) as file:
        return file.read_at(0, file.size + 1)


def test_relative_path_is_read_below_the_folder(folder):
    """A relative path is below the allowed folder, from any working directory."""
    assert read_content("photo.jpg", folder) == b"picture"
    assert read_content("trip/beach.jpg", folder) == b"beach"


def test_absolute_path_and_file_url_below_the_folder_are_read(folder):
    """What a person copies from a file manager works."""
    assert read_content(str(folder / "photo.jpg"), folder) == b"picture"
    path = folder.as_posix() if not WINDOWS else f"/{folder.as_posix()}"
    assert read_content(f"file://{path}/trip/beach.jpg", folder) == b"beach"
    assert read_content(f"file://localhost{path}/%70hoto.jpg", folder) == b"picture"


def test_home_path_is_read_if_it_contains_the_folder(folder):
    """`~/` means the home folder."""
    pictures = Path.home() / "Pictures"
    pictures.mkdir()
    (pictures / "cat.png").write_bytes(b"cat")
    assert read_content("~/Pictures/cat.png", folder, pictures) == b"cat"


@needs_links
def test_folder_that_is_a_link_is_followed_once(folder, tmp_path):
    """The folder is the user's choice; both of its names work."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert read_content("photo.jpg", link) == b"picture"
    assert read_content(str(link / "photo.jpg"), link) == b"picture"
    assert read_content(str(folder / "photo.jpg"), link) == b"picture"


def test_file_of_a_second_folder_is_found(folder, tmp_path):
    """Each folder is searched."""
    second = tmp_path / "second"
    second.mkdir()
    (second / "other.jpg").write_bytes(b"other")
    assert read_content("other.jpg", folder, second) == b"other"
    assert read_content("photo.jpg", folder, folder) == b"picture"


@pytest.mark.requirement("uploads.words")
def test_same_name_in_two_folders_is_ambiguous(folder, tmp_path):
    """The wrong picture must not be published."""
    second = tmp_path / "second"
    second.mkdir()
    (second / "photo.jpg").write_bytes(b"other")
    assert read_refusal("photo.jpg", folder, second) == (
        "Not uploaded: «photo.jpg»: a file of this name is in several allowed folders. Pass its absolute path; "
        "repeating the same call does not help."
    )


@pytest.mark.parametrize(
    "source",
    [
        "../secret.jpg",
        "trip/../../secret.jpg",
        "trip/../photo.jpg",
        "./../photo.jpg",
        "trip//beach.jpg",
        "photo.jpg/",
        "",
        pytest.param("trip\\beach.jpg", marks=needs_posix_paths),
        "photo.jpg\x00.png",
        "photo\n.jpg",
        "gpj.\u202eotohp",
        "ph\u200boto.jpg",
        "ph\udc80oto.jpg",
        ".hidden.jpg",
        ".ssh/key.jpg",
        "trip/.hidden/key.jpg",
        "file:///etc/../etc/passwd",
        "file://server/share/photo.jpg",
        "file:///photo.jpg?download",
        "file://[/photo.jpg",
        "/etc/passwd",
        "/proc/self/environ",
        "~/photo.jpg",
        "~root/photo.jpg",
        "x" * 300,
        "x" * 5000,
    ],
)
def test_path_that_is_not_plainly_below_the_folder_is_refused(folder, source):
    """Traversal, hidden names, controls and foreign places."""
    assert str(folder.parent) not in read_refusal(source, folder)


@pytest.mark.parametrize("source", [".photo.jpg", "trip/.beach.jpg", ".trip/beach.jpg"])
def test_hidden_file_is_not_read(folder, source):
    """`.env` and its like may be in any folder; the file exists."""
    (folder / ".trip").mkdir()
    (folder / source).write_bytes(b"picture")
    assert "hidden files and folders are never read" in read_refusal(source, folder)


@pytest.mark.parametrize("hidden", ["\u200b", "\u3164", "\uffa0", "\ufff0", "\U0001d173", "\U000e0080", "\U000e0fff"])
def test_file_with_an_invisible_character_in_its_name_is_refused(folder, hidden):
    """Although it exists."""
    (folder / f"ph{hidden}oto.jpg").write_bytes(b"picture")
    assert "an invisible character (U+" in read_refusal(f"ph{hidden}oto.jpg", folder)


NARROW = "Screenshot 2026-11-25 at 9.41.00\u202fPM.png"


@pytest.mark.requirement("uploads.names")
@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        (NARROW, "Screenshot 2026-11-25 at 9.41.00 PM.png"),
        (unicodedata.normalize("NFD", "Crème brûlée.png"), unicodedata.normalize("NFC", "Crème brûlée.png")),
        (unicodedata.normalize("NFC", "Crème brûlée.png"), unicodedata.normalize("NFD", "Crème brûlée.png")),
        ("two  spaces.png", "two spaces.png"),
        ("no-break\xa0space.png", "no-break space.png"),
        ("plain space.png", "plain\u202fspace.png"),
    ],
)
def test_lookalike_name_is_found(folder, stored, typed):
    """As answers show it and users type it; relative, absolute and as a URL."""
    for place in (folder, folder / "trip"):
        (place / stored).write_bytes(b"this one")
    assert read_content(typed, folder) == b"this one"
    assert read_content(f"trip/{typed}", folder) == b"this one"
    assert read_content(f"{folder}/trip/{typed}", folder) == b"this one"
    assert read_content(f"{folder.as_uri()}/{quote(typed)}", folder) == b"this one"


@pytest.mark.requirement("uploads.names")
def test_suggested_name_can_be_passed(folder):
    """The name in a refusal opens the file."""
    (folder / NARROW).write_bytes(b"shot")
    words = read_refusal("Screenshot 2026-11-25 at 9.41.00.png", folder)
    suggested = words.partition("Similar names there: «")[2].partition("». Newest")[0]
    assert read_content(suggested, folder) == b"shot"


@pytest.mark.requirement("uploads.names")
def test_exact_name_takes_precedence(folder, tmp_path):
    """Also over a lookalike in another allowed folder."""
    second = tmp_path / "second"
    second.mkdir()
    (folder / "a  b.jpg").write_bytes(b"alike")
    (second / "a b.jpg").write_bytes(b"typed")
    assert read_content("a b.jpg", folder, second) == b"typed"
    (folder / "a b.jpg").write_bytes(b"typed")
    assert read_content("a b.jpg", folder) == b"typed"


@pytest.mark.requirement("uploads.names")
def test_several_lookalikes_are_listed(folder, tmp_path):
    """The wrong picture must not be published, from one folder or two."""
    (folder / "a  b.jpg").write_bytes(b"one")
    (folder / "a\u202fb.jpg").write_bytes(b"two")
    assert read_refusal("a b.jpg", folder) == (
        "Not uploaded: «a b.jpg»: 2 names there read the same («a b.jpg», «a b.jpg»). Rename the file that is meant; "
        "repeating the same call does not help."
    )
    second = tmp_path / "second"
    second.mkdir()
    (folder / "a\u202fb.jpg").rename(second / "a\u202fb.jpg")
    assert "is in several allowed folders" in read_refusal("a b.jpg", folder, second)


@needs_links
@pytest.mark.requirement("uploads.names")
@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        (".photo 1.jpg", "\uff0ephoto 1.jpg"),
        ("photo\t1.jpg", "photo 1.jpg"),
        ("PHOTO 1.jpg", "photo 1.jpg"),
        ("link\u202f1.jpg", "link 1.jpg"),
        ("hard\u202f1.jpg", "hard 1.jpg"),
    ],
)
def test_lookalike_obeys_every_other_rule(folder, tmp_path, stored, typed):
    """Hidden files, control characters, other scripts, links, hard links."""
    if stored.startswith("link"):
        (folder / stored).symlink_to(tmp_path / "secret.jpg")
    elif stored.startswith("hard"):
        os.link(tmp_path / "secret.jpg", folder / stored)
    else:
        (folder / stored).write_bytes(b"picture")
    assert typed in read_refusal(typed, folder)


@pytest.mark.requirement("uploads.names")
@pytest.mark.parametrize(("stored", "typed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_folder_on_the_way_is_found_by_either_form_of_its_accents(folder, stored, typed):
    """A folder that macOS made keeps its form on a disk of another system."""
    stored, typed = (unicodedata.normalize(form, "Été à Nîmes") for form in (stored, typed))
    (folder / stored / "jour").mkdir(parents=True)
    (folder / stored / "jour" / "café.jpg").write_bytes(b"this one")
    assert read_content(f"{typed}/jour/café.jpg", folder) == b"this one"
    assert read_content(f"{folder}/{typed}/jour/cafe\u0301.jpg", folder) == b"this one"


@pytest.mark.requirement("uploads.names")
def test_folder_in_a_path_is_named_exactly_otherwise(folder):
    """Only the file's own name is matched by appearance."""
    (folder / "two  spaces").mkdir()
    (folder / "two  spaces" / "a.jpg").write_bytes(b"x")
    assert "it isn't in the allowed folders" in read_refusal("two spaces/a.jpg", folder)
    assert read_content("two  spaces/a.jpg", folder) == b"x"


@needs_posix_names
@pytest.mark.requirement("uploads.names")
def test_lookalike_folders_are_listed(folder):
    """The wrong picture must not be published."""
    for form in ("NFC", "NFD"):
        (folder / unicodedata.normalize(form, "été")).mkdir()
    assert "2 names there read the same (" in read_refusal("été/photo.jpg", folder)
    exact = unicodedata.normalize("NFC", "été/photo.jpg")
    (folder / exact).write_bytes(b"this one")
    assert read_content(exact, folder) == b"this one"


@needs_links
@pytest.mark.parametrize("place", ["file", "folder", "in the folder"])
def test_link_is_never_followed(folder, tmp_path, place):
    """Neither as the file nor in its path, nor to a file of the same folder."""
    source = "link.jpg"
    if place == "file":
        (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    elif place == "folder":
        (folder / "out").symlink_to(tmp_path)
        source = "out/secret.jpg"
    else:
        (folder / "link.jpg").symlink_to(folder / "photo.jpg")
    assert "is a link, or not a folder" in read_refusal(source, folder)


@needs_descriptors
@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "hard link", "empty", "too large", "no permission"])
def test_anything_but_an_ordinary_file_is_refused(folder, tmp_path, kind, monkeypatch):
    """Only a regular file with one name and a plausible size."""
    path = folder / "thing.jpg"
    expected = "it is not a regular file. Pass an image or a video"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(folder)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("thing.jpg")
    elif kind == "hard link":
        os.link(tmp_path / "secret.jpg", path)
        expected = "it is a hard link. Pass a copy of it"
    elif kind == "empty":
        path.touch()
        expected = "it is empty. Pass an image or a video"
    elif kind == "too large":
        path.touch()
        os.truncate(path, MOST_BYTES + 1)
        expected = "it has 5368709121 bytes and at most 5368709120 can be sent. Make it smaller"
    else:
        refuse_opening(monkeypatch, errno.EACCES)
        path.write_bytes(b"x")
        expected = "this server may not read it. Change its permissions"
    assert read_refusal("thing.jpg", folder) == format_refusal("thing.jpg", expected)


@needs_descriptors
def test_largest_file_is_opened(folder):
    (folder / "large.mp4").touch()
    os.truncate(folder / "large.mp4", MOST_BYTES)
    with open_below("large.mp4", [folder]) as file:
        assert file.size == 5 * 1024**3


def format_refusal(name, cause):
    """The whole refusal of a file."""
    return f"Not uploaded: «{name}»: {cause}; repeating the same call does not help."


def refuse_opening(monkeypatch, number):
    """The file itself can't be opened: who runs the tests may be allowed to read everything."""
    real = os.open

    def opening(path, *args, **options):
        if path == "thing.jpg":
            raise OSError(number, "no")
        return real(path, *args, **options)

    monkeypatch.setattr(files.os, "open", opening)


@needs_descriptors
def test_other_disk_error_is_a_refusal(folder, monkeypatch):
    """Without the system's text or paths."""
    refuse_opening(monkeypatch, errno.EIO)
    assert read_refusal("thing.jpg", folder) == format_refusal("thing.jpg", "it could not be opened. Check the file")


@needs_descriptors
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EPERM, "this server may not read it. Change its permissions"),
        (errno.ENAMETOOLONG, "its name is too long. Check the path"),
        (errno.ENXIO, "it is not a regular file. Pass an image or a video"),
        (errno.ELOOP, "a part of its path is a link, or not a folder. Pass the path of the file itself"),
        (errno.ENOTDIR, "a part of its path is a link, or not a folder. Pass the path of the file itself"),
    ],
)
def test_failure_to_open_a_file_has_its_cause_and_next_step(folder, monkeypatch, number, cause):
    refuse_opening(monkeypatch, number)
    assert read_refusal("thing.jpg", folder) == format_refusal("thing.jpg", cause)


@needs_posix_names
@pytest.mark.requirement("uploads.words")
def test_missing_file_lists_similar_names(folder):
    """A typo costs one call; hidden and odd names aren't listed."""
    (folder / ".photo.jpg").write_bytes(b"hidden")
    (folder / "pho\nto.jpg").write_bytes(b"odd")
    (folder / "pho\\to.jpg").write_bytes(b"odd")
    (folder / "Photo1.JPG").write_bytes(b"similar")
    for number, name in enumerate(("trip/beach.jpg", "photo.jpg", "Photo1.JPG"), 1):
        os.utime(folder / name, (number, number))
    assert read_refusal("photo.jpeg", folder) == (
        "Not uploaded: «photo.jpeg»: it isn't in the allowed folders. "
        "Similar names there: «photo.jpg», «Photo1.JPG». Newest files there: «Photo1.JPG», «photo.jpg», «trip/beach.jpg». "
        "Check the name; repeating the same call does not help."
    )
    assert "Similar names there: «trip»" in read_refusal("trop/beach.jpg", folder)
    assert "Similar" not in read_refusal("zzz", folder)


@pytest.mark.requirement("uploads.roots")
@pytest.mark.parametrize(
    "name",
    [".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".mozilla", ".password-store"],
)
def test_folder_with_a_private_folder_in_it_is_not_accepted(folder, name):
    """It is a home folder or a copy of one."""
    (folder / name).mkdir()
    assert folder_problems([folder]) == ["entry 1 of TTP_MEDIA_DIRS holds private folders such as .ssh"]


@needs_links
@pytest.mark.requirement("uploads.words")
def test_missing_file_names_no_link(folder, tmp_path):
    (folder / "link.png").symlink_to(tmp_path / "secret.jpg")
    (folder / "out").symlink_to(tmp_path)
    words = read_refusal("holiday.jpg", folder)
    assert "«photo.jpg»" in words
    assert "link.png" not in words
    assert "secret" not in words


@pytest.mark.requirement("uploads.words")
def test_missing_file_names_the_newest_media_of_all_folders(folder, tmp_path):
    """Five of them, as paths that can be passed; no hidden or odd name, no link, nothing that isn't media."""
    second = tmp_path / "second"
    (second / ".hidden").mkdir(parents=True)
    (folder / "trip" / "a" / "b").mkdir(parents=True)
    names = [second / "5.png", folder / "trip" / "4.MP4", folder / "trip" / "a" / "3.webp", second / "2.heic"]
    for path in (*names, second / "notes.txt", second / ".6.png", second / ".hidden" / "7.png"):
        path.write_bytes(b"x")
    (folder / "trip" / "a" / "b" / "8.png").write_bytes(b"too deep")
    for number, path in enumerate(reversed([*names, folder / "photo.jpg", folder / "trip" / "beach.jpg"]), 1):
        os.utime(path, (number, number))
    words = read_refusal("holiday.jpg", folder, second)
    newest = words.partition("Newest files there: ")[2].partition(". Check")[0].strip("«»").split("», «")
    assert newest == ["5.png", "trip/4.MP4", "trip/a/3.webp", "2.heic", "photo.jpg"]
    assert [read_content(path, folder, second) for path in newest] == [b"x", b"x", b"x", b"x", b"picture"]


@needs_descriptors
@pytest.mark.requirement("uploads.words")
def test_locked_file_is_reported_as_such(folder, monkeypatch):
    """Windows refuses to open it, and permissions wouldn't help."""
    error = PermissionError(errno.EACCES, "in use")
    real = os.open

    def opening(path, *args, **options):
        if path == "photo.jpg":
            raise error
        return real(path, *args, **options)

    monkeypatch.setattr(files.os, "open", opening)
    for number in (32, 33):
        error.winerror = number
        assert read_refusal("photo.jpg", folder) == HELD


@pytest.mark.skipif(not WINDOWS, reason="only Windows lets a program open a file for itself alone")
@pytest.mark.requirement("uploads.words")
def test_file_that_is_open_elsewhere_is_named_as_such(folder):
    """As long as another program doesn't share it."""
    kernel = ctypes.WinDLL("kernel32")
    kernel.CreateFileW.restype = ctypes.c_void_p
    generic_read, share_none, open_existing = 0x80000000, 0, 3
    handle = kernel.CreateFileW(str(folder / "photo.jpg"), generic_read, share_none, None, open_existing, 0, None)
    assert read_refusal("photo.jpg", folder) == HELD
    kernel.CloseHandle(ctypes.c_void_p(handle))
    assert read_content("photo.jpg", folder) == b"picture"


@pytest.mark.requirement("uploads.typed_paths")
@pytest.mark.parametrize("form", [" {} ", '"{}"', "'{}'", "`{}`", "“{}”", "\n{}\n", "\u202a{}"])
def test_blanks_and_quotes_around_a_path_are_removed(folder, form):
    """As chats, shells and file managers add them."""
    (folder / "my photo.jpg").write_bytes(b"mine")
    for path in ("my photo.jpg", str(folder / "my photo.jpg")):
        assert read_content(form.format(path), folder) == b"mine"


@needs_posix_paths
@pytest.mark.requirement("uploads.typed_paths")
@pytest.mark.parametrize("name", ["my photo.jpg", "it's (1) & more.jpg", "a[1]{2}.jpg", "$5 #1.jpg"])
def test_path_with_the_escapes_of_a_shell_is_read(folder, name):
    """As a terminal writes it when a file is dropped there."""
    (folder / name).write_bytes(b"mine")
    escaped = "".join(each if each.isalnum() or each in "./" else f"\\{each}" for each in str(folder / name))
    assert read_content(escaped, folder) == b"mine"


@needs_posix_paths
@pytest.mark.requirement("uploads.typed_paths")
def test_paths_follow_the_rules_of_the_given_system(folder):
    """Those of Windows are tested everywhere; the files exist here."""
    for name in ("NUL.jpg", "photo.jpg:evil"):
        (folder / name).write_bytes(b"x")
    open_below(r"trip\beach.jpg", [folder], system="windows").close()
    for source, cause in (
        ("NUL.jpg", "a part of the path is the name of a device of Windows"),
        ("photo.jpg:evil", "the path has a colon after its drive"),
        (str(folder / "photo.jpg"), "the path has no drive"),
    ):
        with pytest.raises(FileRefused, match=cause):
            open_below(source, [folder], system="windows")


@needs_posix_paths
@pytest.mark.requirement("uploads.typed_paths")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("trip\\beach.jpg", "«beach.jpg»: the path has a backslash. Write / between its parts;"),
        (
            "trip/../photo.jpg",
            "«photo.jpg»: the path has an empty, . or .. part. Pass the plain path below the allowed folder;",
        ),
        ("trip//beach.jpg", "«beach.jpg»: the path has an empty, . or .. part. Pass the plain path below"),
        ("trip/./beach.jpg", "«beach.jpg»: the path has an empty, . or .. part. Pass the plain path below"),
        ("", "Not uploaded: it: the path has an empty, . or .. part. Pass the plain path below"),
        ("x" * 4097, "Not uploaded: it: the path has more than 4096 characters. Pass a shorter one;"),
        ("file:///a?b", "Not uploaded: it: a file URL must have the form file:///path. Pass the path instead;"),
        (
            "ph\x01oto.jpg",
            (
                "the path has a control or an invisible character (U+0001). Pass it without; if the file's own name has it, "
                "pass a copy with a plain name;"
            ),
        ),
        (
            "C:\\Users\\ann\\photo.jpg",
            "«photo.jpg»: this is a path of Windows, and this server runs on another system. Pass its path here;",
        ),
        ("\\\\?\\C:\\photo.jpg", "«photo.jpg»: the path has a backslash. Write / between its parts;"),
        (
            "ph\u200boto.jpg",
            "the path has a control or an invisible character (U+200B). Pass it without; if the file's",
        ),
        (
            "trip/.hidden/key.jpg",
            "«key.jpg»: hidden files and folders are never read. Pass a copy in a visible folder;",
        ),
        (".ssh/key.jpg", "«key.jpg»: hidden files and folders are never read. Pass a copy in a visible folder;"),
    ],
)
def test_refusal_says_what_is_wrong_with_the_path(folder, source, words):
    """It never suggests renaming a file with a valid name."""
    found = read_refusal(source, folder)
    assert words in found
    assert "Rename" not in found


@pytest.mark.requirement("uploads.words")
def test_refusal_without_folders_names_the_setting():
    """The user has to allow a folder first."""
    assert read_refusal("photo.jpg") == (
        f"Not uploaded: no folder on this computer is allowed yet. To allow one, add TTP_MEDIA_DIRS={EXAMPLE_FOLDER} "
        "where this server is configured and restart it; repeating does not help until then."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems find a folder in any case")
def test_folder_in_another_case_is_another_one_on_linux(folder):
    assert "it lies outside the folders of TTP_MEDIA_DIRS" in read_refusal(f"{folder.parent}/ALLOWED/photo.jpg", folder)


@needs_posix_paths
@pytest.mark.requirement("uploads.words")
def test_refusal_names_the_file_and_no_folder(folder):
    """The typed path isn't repeated."""
    assert read_refusal("/home/someone/private/letter.jpg", folder) == (
        "Not uploaded: «letter.jpg»: it lies outside the folders of TTP_MEDIA_DIRS. Move it into one of them, or have its "
        "folder added; repeating the same call does not help."
    )


@pytest.mark.requirement("uploads.roots")
@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("/", "is your home folder or holds it"),
        ("home", "is your home folder or holds it"),
        ("above home", "is your home folder or holds it"),
        ("holds .ssh", "holds private folders such as .ssh"),
        ("relative", "is not an absolute path"),
        ("missing", "does not exist or can't be read"),
        ("unreadable", "does not exist or can't be read"),
        ("with a null byte", "does not exist or can't be read"),
        pytest.param("link to itself", "does not exist or can't be read", marks=needs_links),
        ("file", "is not a folder"),
        ("in quotes", "is in quotes, which have to be left out"),
        ("in single quotes", "is in quotes, which have to be left out"),
    ],
)
def test_folder_with_more_than_media_is_refused(folder, tmp_path, monkeypatch, root, why):
    """The error names the entry by number, not by path."""
    unreadable = folder / "trip"
    # Who runs the tests may be allowed to read everything.
    monkeypatch.setattr(files.os, "access", lambda path, mode: (path, mode) != (unreadable, os.R_OK | os.X_OK))
    (tmp_path / "like-home" / ".ssh").mkdir(parents=True)
    if root == "link to itself":
        (folder / "loop").symlink_to(folder / "loop")
    path = {
        "/": Path(folder.anchor),
        "home": Path.home(),
        "above home": tmp_path,
        "holds .ssh": tmp_path / "like-home",
        "relative": Path("pictures"),
        "missing": tmp_path / "missing",
        "unreadable": unreadable,
        "with a null byte": folder / "a\0b",
        "link to itself": folder / "loop",
        "file": folder / "photo.jpg",
        "in quotes": Path(f'"{folder}"'),
        "in single quotes": Path(f"'{folder}'"),
    }[root]
    words = read_refusal("photo.jpg", folder, path)
    assert words == (
        f"Not uploaded: entry 2 of TTP_MEDIA_DIRS {why}. Name a folder that holds only media, for example "
        f"TTP_MEDIA_DIRS={EXAMPLE_FOLDER}, and restart this server; repeating does not help until then."
    )
    assert folder_problems([folder, path]) == [f"entry 2 of TTP_MEDIA_DIRS {why}"]


@pytest.mark.skipif(WINDOWS, reason="Wine finds no path of more than 260 characters by handle")
def test_opened_file_has_a_short_name_with_its_extension(folder):
    """The name goes to the API; folders do not."""
    long = "n" * 200 + ".jpeg"
    (folder / "trip" / long).write_bytes(b"x")
    with open_below(f"trip/{long}", [folder]) as file:
        assert file.name == "n" * 88 + ".jpeg"
        assert file.size == 1
    (folder / "trip" / f"trip.{long}-from-a-phone").write_bytes(b"x")
    with open_below(f"trip/trip.{long}-from-a-phone", [folder]) as file:
        assert file.name == "trip." + "n" * 83 + ".jpeg-from-"
    longest = "n" * 95 + ".jpeg"
    for name in ("beach.jpg", longest):
        (folder / "trip" / name).write_bytes(b"x")
        with open_below(f"trip/{name}", [folder]) as file:
            assert file.name == name


@pytest.mark.requirement("uploads.identity")
@pytest.mark.parametrize("change", ["append", "truncate", "replace", "remove", "rewrite"])
def test_change_after_opening_is_detected(folder, change):
    """Of size, times, file and number of names."""
    if WINDOWS and change in ("replace", "remove"):
        pytest.skip("Windows keeps the name of an open file")
    path = folder / "photo.jpg"
    os.utime(path, ns=(10**9, 10**9))
    with open_below("photo.jpg", [folder]) as file:
        assert file.is_unchanged()
        if change == "append":
            with path.open("ab") as more:
                more.write(b"!")
        elif change == "truncate":
            os.truncate(path, 1)
        elif change == "replace":
            path.rename(folder / "away.jpg")
            path.write_bytes(b"picture")
            path.replace(folder / "away.jpg")
        elif change == "remove":
            path.unlink()
        else:
            path.write_bytes(b"PICTURE")
        assert not file.is_unchanged()


@skip_on_windows("Windows keeps no time of a change of the file itself")
@pytest.mark.requirement("uploads.identity")
def test_change_that_leaves_size_and_time_is_noticed(folder):
    """`cp -p` and rsync write the time of the original; the file system's own time of change can't be set."""
    path = folder / "photo.jpg"
    os.utime(path, ns=(10**9, 10**9))
    with open_below("photo.jpg", [folder]) as file:
        opened = path.stat()
        path.write_bytes(b"PICTURE")
        os.utime(path, ns=(10**9, 10**9))
        # Its clock may have steps of several milliseconds.
        while path.stat().st_ctime_ns == opened.st_ctime_ns:
            os.utime(path, ns=(10**9, 10**9))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (opened.st_size, opened.st_mtime_ns)
        assert not file.is_unchanged()


@needs_descriptors
@pytest.mark.requirement("uploads.identity")
@pytest.mark.parametrize("change", ["size", "time", "names"])
def test_change_is_noticed_where_files_have_no_time_of_change(folder, monkeypatch, change):
    """As on Windows."""
    path, real = folder / "photo.jpg", os.fstat

    def fstat(descriptor):
        found = real(descriptor)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_ctime_ns": 0})

    monkeypatch.setattr(os, "fstat", fstat)
    os.utime(path, ns=(10**9, 10**9))
    with open_below("photo.jpg", [folder]) as file:
        if change == "size":
            path.write_bytes(b"pictures")
            os.utime(path, ns=(10**9, 10**9))
        elif change == "time":
            os.utime(path, ns=(10**9, 2 * 10**9))
        else:
            path.unlink()
        assert not file.is_unchanged()


@pytest.mark.requirement("uploads.identity")
def test_file_is_closed_at_the_end_of_its_block(folder):
    with open_below("photo.jpg", [folder]) as file:
        assert os.fstat(file.descriptor).st_size == file.size
    with pytest.raises(OSError):
        os.fstat(file.descriptor)


@pytest.mark.requirement("uploads.words")
def test_missing_file_has_suggestions_from_each_folder(tmp_path):
    """At most five similar names, and nothing of empty folders."""
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        place.mkdir()
    assert read_refusal("phot0.jpg", one, two) == (
        "Not uploaded: «phot0.jpg»: it isn't in the allowed folders. Check the name; repeating the same call does not help."
    )
    for number in range(1, 5):
        (one / f"photo{number}.jpg").write_bytes(b"x")
        (two / f"photo{number}{number}.jpg").write_bytes(b"x")
    similar = read_refusal("photo.jpg", one, two).partition("Similar names there: ")[2].partition(". Newest")[0]
    assert similar.count("«") == 5
    assert {len(name) for name in similar.split(", ")} == {len("«photo1.jpg»"), len("«photo11.jpg»")}


def test_user_without_a_home_folder_can_upload(folder, monkeypatch):
    """A service may run as one; the environment names a missing folder, or none."""
    Path.home().rmdir()
    open_below("photo.jpg", [folder]).close()

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    open_below("photo.jpg", [folder]).close()
    assert "isn't in the allowed folders" in read_refusal("~/photo.jpg", folder)


@pytest.mark.requirement("uploads.identity")
def test_copy_outlives_the_original(folder):
    """A thread keeps its own descriptor."""
    with open_below("photo.jpg", [folder]) as file:
        copy = file.copy()
    assert copy.read_at(3, 4) == b"ture"
    assert copy.is_unchanged()
    copy.close()


@needs_descriptors
def test_refusals_leave_no_descriptor_open(folder, tmp_path):
    """Whatever the reason."""
    second = tmp_path / "second"
    second.mkdir()
    (second / "photo.jpg").write_bytes(b"other")
    (folder / "empty.jpg").touch()
    (folder / "link.jpg").symlink_to(folder / "photo.jpg")
    before = psutil.Process().num_fds()
    for source in ("photo.jpg", "empty.jpg", "link.jpg", "trip/none.jpg", "trip", "../x"):
        read_refusal(source, folder, second)
    assert psutil.Process().num_fds() == before


@pytest.mark.skipif(not WINDOWS, reason="short names and attributes of Windows")
class TestOnWindows:
    """Facts of its file system."""

    @pytest.mark.requirement("uploads.typed_paths")
    def test_short_names_are_understood_in_the_whole_path(self, tmp_path):
        """As in older programs and some variables of Windows."""
        folder = tmp_path / "a folder with a long name"
        folder.mkdir()
        (folder / "a photo with a long name.jpg").write_bytes(b"picture")
        short = shorten_path(folder / "a photo with a long name.jpg")
        assert "~" in Path(short).parent.name
        assert read_content(short, folder) == b"picture"
        assert read_content(Path(short).name, folder) == b"picture"
        assert read_content(str(folder / "a photo with a long name.jpg"), Path(short).parent) == b"picture"

    @pytest.mark.parametrize("hidden", ["photo.jpg", "trip"])
    def test_hidden_attribute_of_file_or_folder_is_respected(self, folder, hidden):
        """As a name with a dot at the beginning elsewhere."""
        assert ctypes.WinDLL("kernel32").SetFileAttributesW(str(folder / hidden), 2)
        source = "photo.jpg" if hidden == "photo.jpg" else "trip/beach.jpg"
        assert "hidden files and folders are never read" in read_refusal(source, folder)


def shorten_path(path):
    """The path with 8.3 names."""
    buffer = ctypes.create_unicode_buffer(1000)
    ctypes.WinDLL("kernel32").GetShortPathNameW(str(path), buffer, len(buffer))
    return buffer.value
