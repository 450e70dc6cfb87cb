"""Paths as people type them, read for each system on any system."""

import pytest

from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.paths import check_parts, is_absolute, parse_source, split_below

pytestmark = pytest.mark.requirement("uploads.typed_paths")

PICS = "C:/Users/Ann/Pictures"
HOME = "C:/Users/Ann"


def find_parts_below(source, folder):
    """The parts of a Windows path below a folder; None if it isn't absolute or not below it."""
    typed = parse_source(source, HOME, system="windows")
    return split_below(typed, folder, system="windows") if is_absolute(typed, system="windows") else None


@pytest.mark.parametrize(
    "source",
    [
        r"C:\Users\Ann\Pictures\trip\a b.png",
        "C:/Users/Ann/Pictures/trip/a b.png",
        r"C:\Users\Ann\Pictures/trip\a b.png",
        r"c:\users\ANN\pictures\trip\a b.png",
        r"C:\\Users\\Ann\\Pictures\\trip\\a b.png",
        r"\\?\C:\Users\Ann\Pictures\trip\a b.png",
        "//?/C:/Users/Ann/Pictures/trip/a b.png",
        "file:///C:/Users/Ann/Pictures/trip/a%20b.png",
        "FILE:///c:/Users/Ann/Pictures/trip/a%20b.png",
        "file://localhost/C:/Users/Ann/Pictures/trip/a%20b.png",
        "file:/C:/Users/Ann/Pictures/trip/a%20b.png",
        "file://C:/Users/Ann/Pictures/trip/a%20b.png",
        r"file://C:\Users\Ann\Pictures\trip\a%20b.png",
        "file:///C%3A/Users/Ann/Pictures/trip/a%20b.png",
        r"file:///C:\Users\Ann\Pictures\trip\a%20b.png",
        '"C:\\Users\\Ann\\Pictures\\trip\\a b.png"',
        "\u202aC:\\Users\\Ann\\Pictures\\trip\\a b.png",
        "  'C:/Users/Ann/Pictures/trip/a b.png'\n",
        r"~\Pictures\trip\a b.png",
        "~/Pictures/trip/a b.png",
    ],
)
def test_windows_path_below_the_folder_is_understood(source):
    """Both separators, any case, literal prefix, URL, quotes and home."""
    assert find_parts_below(source, PICS) == ["trip", "a b.png"]


@pytest.mark.parametrize(
    "source",
    [
        r"\\server\share\pics\a.png",
        "//server/share/pics/a.png",
        r"\\?\UNC\server\share\pics\a.png",
        "file://server/share/pics/a.png",
        r"\\SERVER\Share\pics\a.png",
    ],
)
def test_path_of_a_network_share_is_understood(source):
    """Also as a literal path and as a URL."""
    assert find_parts_below(source, "//server/share/pics") == ["a.png"]
    assert find_parts_below(source, "//server/other/pics") is None


@pytest.mark.parametrize("folder", ["C:/", "c:/"])
def test_folder_that_is_a_drive_is_understood(folder):
    """Its own separator at the end is not counted."""
    assert find_parts_below(r"C:\a.png", folder) == ["a.png"]
    assert find_parts_below(r"D:\a.png", folder) is None


@pytest.mark.parametrize(
    "source", [PICS, f"{PICS}x/a.png", "C:/Users/a.png", "D:/Users/Ann/Pictures/a.png", r"\\server\share\a.png"]
)
def test_path_beside_the_folder_is_not_below_it(source):
    """The folder itself, one whose name begins alike, and others."""
    assert find_parts_below(source, PICS) is None


@pytest.mark.parametrize("source", [r"trip\a.png", "trip/a.png", r" trip\a.png "])
def test_relative_windows_path_is_split_at_either_separator(source):
    """It is meant below each allowed folder."""
    typed = parse_source(source, HOME, system="windows")
    assert not is_absolute(typed, system="windows")
    assert typed.split("/") == ["trip", "a.png"]


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (r"C:\Users\Ann\Pictures\photo.png:evil", "the path has a colon after its drive"),
        (r"C:\Users\Ann\Pictures\photo.png::$DATA", "the path has a colon after its drive"),
        ("photo.png:evil.png", "the path has a colon after its drive"),
        (r"trip:evil\photo.png", "the path has a colon after its drive"),
        (r"C:photo.png", "the path has a drive without a folder"),
        (r"c:trip\photo.png", "the path has a drive without a folder"),
        (r"\photo.png", "the path has no drive"),
        ("/Users/Ann/Pictures/photo.png", "the path has no drive"),
        (r"\??\C:\Users\Ann\Pictures\photo.png", "the path has no drive"),
        (r"..\photo.png", "the path has an empty, . or .. part"),
        (r"trip\..\photo.png", "the path has an empty, . or .. part"),
        (r"trip\\photo.png", "the path has an empty, . or .. part"),
        (r".hidden\photo.png", "hidden files and folders are never read"),
        ("photo\t.png", "the path has a control or an invisible character (U+0009)"),
        ("photo\u2060.png", "the path has a control or an invisible character (U+2060)"),
        ("photo\u206f.png", "the path has a control or an invisible character (U+206F)"),
        ("photo\x80.png", "the path has a control or an invisible character (U+0080)"),
        ("photo\x9f.png", "the path has a control or an invisible character (U+009F)"),
        ("photo\udc80.png", "the path has a control or an invisible character (U+DC80)"),
        ("CON", "a part of the path is the name of a device of Windows"),
        (r"C:\Users\Ann\Pictures\NUL.jpg", "a part of the path is the name of a device of Windows"),
        (r"C:\Users\Ann\Pictures\aux\photo.png", "a part of the path is the name of a device of Windows"),
        ("nul .tar.jpg", "a part of the path is the name of a device of Windows"),
        ("COM1.png", "a part of the path is the name of a device of Windows"),
        ("COM¹", "a part of the path is the name of a device of Windows"),
        ("lpt³.png", "a part of the path is the name of a device of Windows"),
        ("LPT².png", "a part of the path is the name of a device of Windows"),
        ("prn.png", "a part of the path is the name of a device of Windows"),
        ("CONIN$", "a part of the path is the name of a device of Windows"),
        ("conout$", "a part of the path is the name of a device of Windows"),
        ("photo.png.", "a part of the path ends with a dot or a blank"),
        (r"C:\Users\Ann\Pictures\trip \photo.png", "a part of the path ends with a dot or a blank"),
        (r"trip.\photo.png", "a part of the path ends with a dot or a blank"),
    ],
)
def test_windows_path_with_a_trick_is_refused(source, cause):
    """Streams, drives without a root, ways up, devices, and ends that Windows cuts off."""
    parts = find_parts_below(source, PICS) or parse_source(source, HOME, system="windows").split("/")
    with pytest.raises(FileRefused) as caught:
        check_parts(parts, system="windows")
    assert f": {cause}. " in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        r"\\.\C:\Users\Ann\Pictures\photo.png",
        r"\\.\PhysicalDrive0\photo.png",
        r"\\?\GLOBALROOT\Device\HarddiskVolume1\photo.png",
        r"\\?\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\photo.png",
        r"\\?\UNC\server\share\photo.png",
    ],
)
def test_path_of_a_device_is_outside_every_folder(source):
    """A literal path is understood only with a drive or a share."""
    typed = parse_source(source, HOME, system="windows")
    assert is_absolute(typed, system="windows")
    assert find_parts_below(source, PICS) is None


@pytest.mark.parametrize(
    ("name", "next_step"),
    [
        ("C:photo.png", r"Pass the whole path, for example C:\folder\photo.jpg"),
        ("NUL.jpg", "Pass a file and folders with other names"),
        ("photo.png.", "Pass a file and folders with other names"),
    ],
)
def test_refusal_of_a_windows_path_has_a_next_step(name, next_step):
    with pytest.raises(FileRefused) as caught:
        check_parts([name], system="windows")
    assert str(caught.value).endswith(f". {next_step}; repeating the same call does not help.")
    check_parts(["tripX", "photo.X"], system="windows")


@pytest.mark.parametrize(
    ("url", "system", "path"),
    [
        ("file:///C:/a.png", "windows", "C:/a.png"),
        ("file:///C:%5Ca.png", "windows", "C:/a.png"),
        ("file:///folder/a.png", "windows", "/folder/a.png"),
        ("file:///C:/a.png", "linux", "/C:/a.png"),
        ("file:///a\\b.png", "linux", "/a\\b.png"),
        (r"c:\\Users\\a.png", "windows", "c:/Users/a.png"),
    ],
)
def test_drive_and_separator_have_their_meaning_on_windows_alone(url, system, path):
    """A path without a drive stays absolute, so it can't be below an allowed folder by accident."""
    assert parse_source(url, None, system=system) == path


@pytest.mark.parametrize(
    "source", ["console.png", "com10.png", "nully.png", r"com\lpt.png", "aux-photo.png", "50%.png"]
)
def test_name_that_only_begins_like_a_device_is_allowed(source):
    """Names that Windows doesn't reserve."""
    check_parts(parse_source(source, HOME, system="windows").split("/"), system="windows")


@pytest.mark.parametrize("parts", [["C:", r"Users\ann\photo.jpg"], [r"c:\photo.jpg"], [r"\\nas\photos\photo.jpg"]])
def test_windows_path_is_recognized_elsewhere(parts):
    with pytest.raises(FileRefused, match="this is a path of Windows"):
        check_parts(parts, system="linux")


def test_trick_of_windows_is_a_plain_name_elsewhere():
    """Other systems give it no meaning."""
    for name in ("photo.png:evil.png", "NUL.jpg", "photo.png.", "C:photo.png"):
        check_parts([name], system="linux")


@pytest.mark.parametrize("system", ["windows", "macos", "linux"])
@pytest.mark.parametrize(
    "source",
    [
        r"%USERPROFILE%\Pictures\photo.png",
        r'"%OneDrive%\photo.png"',
        "$home/Pictures/photo.png",
        r"$env:USERPROFILE\Pictures\photo.png",
        "$HOME/Pictures/photo.png",
        "${HOME}/Pictures/photo.png",
        r"${env:USERPROFILE}\photo.png",
    ],
)
def test_variable_at_the_beginning_is_refused(system, source):
    """Only a shell would replace it."""
    with pytest.raises(FileRefused) as caught:
        parse_source(source, HOME, system=system)
    assert str(caught.value) == (
        "Not uploaded: «photo.png»: the path begins with a variable, which isn't replaced here. Pass the whole path; "
        "repeating the same call does not help."
    )


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        ("/var/folders/x/a.png", "/private/var/folders/x"),
        ("/private/var/folders/x/a.png", "/var/folders/x"),
        ("/tmp/a.png", "/private/tmp"),
        ("/Private/TMP/a.png", "/tmp"),
        ("/etc/a.png", "/private/etc"),
        ("/Users/ann/a.png", "/users/ANN"),
    ],
)
def test_path_through_a_link_of_macos_is_below_the_folder(typed, folder):
    """The user's and the system's name of a folder are the same one; on Linux they aren't."""
    assert split_below(typed, folder, system="macos") == ["a.png"]
    assert split_below(typed, folder, system="linux") is None


def test_private_folder_of_another_name_is_not_left_out():
    """Only three folders of macOS are links there."""
    assert split_below("/private/pics/a.png", "/pics", system="macos") is None
    assert split_below("/private/various/a.png", "/various", system="macos") is None
    assert split_below("/x/private/var/a.png", "/x/var", system="macos") is None


def test_case_counts_where_the_file_system_counts_it():
    """On Linux two folders may differ in it alone; on macOS accents are stored in two ways."""
    assert split_below("/Pics/a.png", "/pics", system="linux") is None
    assert split_below("/pics/X/a.png", "/pics/X/", system="linux") == ["a.png"]
    assert split_below("/Pics/a.png", "/pics", system="macos") == ["a.png"]
    assert split_below("/strasse/a.png", "/straße", system="macos") is None
    assert split_below("/Cre\u0300me/a.png", "/Cr\u00e8me", system="macos") == ["a.png"]


def test_home_is_only_used_where_it_is_known():
    """A service may have none."""
    assert parse_source("~/a.png", "/home/ann/", system="linux") == "/home/ann/a.png"
    assert parse_source("~/a.png", "/home/X/", system="linux") == "/home/X/a.png"
    assert parse_source("~/a.png", None, system="linux") == "~/a.png"


def test_colon_after_the_drive_is_refused_on_windows_alone():
    """It names a stream of the file there."""
    with pytest.raises(FileRefused) as caught:
        check_parts(["trip", "photo.png:evil"], system="windows")
    assert str(caught.value) == (
        "Not uploaded: «photo.png:evil»: the path has a colon after its drive. Pass the plain path of the file; "
        "repeating the same call does not help."
    )
    check_parts(["trip", "photo.png:good"], system="linux")


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("x" * 4096, "x" * 4096),
        ("./a.png", "a.png"),
        ("././/./a.png", "a.png"),
        ("./~/a.png", "./~/a.png"),
        ("./", "./"),
        ("'a.png", "'a.png"),
        ("''", "''"),
        ("'a'", "a"),
        ("“ a.png ”", "a.png"),
        ("‘a.png’", "a.png"),
        ("«a.png»", "a.png"),
        (r"a\ b.png", "a b.png"),
        (r"a\b.png", r"a\b.png"),
        (r"a\\b.png", r"a\b.png"),
        ("FILE:///a%20b.png", "/a b.png"),
        ("file:a.png", "a.png"),
        ("file:///a%80.png", "/a\udc80.png"),
        ("files:a.png", "files:a.png"),
        ("~a/b.png", "~a/b.png"),
    ],
)
def test_path_as_it_is_typed_in_posix(typed, path):
    assert parse_source(typed, "/home/ann", system="linux") == path


@pytest.mark.parametrize("url", ["file://server/share/a.png", "file:///a.png?x", "file:///a.png#x", "file://[/a.png"])
def test_file_url_of_another_form_is_refused(url):
    """A host only names a share on Windows."""
    with pytest.raises(FileRefused, match="must have the form file:///path"):
        parse_source(url, None, system="linux")
