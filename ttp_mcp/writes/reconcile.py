"""Find out whether a write happened when its response was lost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ttp_mcp.api import Post, PostCreate

# How long a lost answer is looked for: to the end of the call's 30 s, and 8 s at least.
DEADLINE_SECONDS, LEAST_LOOK_SECONDS = 30.0, 8.0
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.25, 4.0
# The API's `Date` has whole seconds and travels for a while.
CLOCK_MARGIN = timedelta(seconds=2)


@dataclass(slots=True)
class Search:
    """What a look through the posts is for, and what it found so far."""

    post: PostCreate
    write_id: str
    digest: str
    started_at: datetime
    before: frozenset[str] | None
    candidates: tuple[str, ...] = ()


def is_equal(sent: PostCreate, found: Post) -> bool:
    """Whether a post of the API is what was sent, as far as the API shows it.

    The reference promises only some fields: what is not there is not compared.
    """
    if without_spacing(sent.content) != without_spacing(found.content) or list(sent.media_urls) != found.media_urls:
        return False
    if "thread" in found.raw and [without_spacing(part) for part in sent.thread] != [
        without_spacing(part) for part in found.thread
    ]:
        return False
    if whole_second(sent.scheduled_at) != whole_second(found.scheduled_at):
        return False
    data = found.platform_data
    if data and any(data.get(name) != value for name, value in sent.platform_data.items()):
        return False
    return _same_targets(sent, found)


def _same_targets(sent: PostCreate, found: Post) -> bool:
    if sent.account_ids:
        accounts = accounts_of_post(found)
        return not accounts or accounts == set(sent.account_ids)
    return {name.lower() for name in sent.platforms} == {name.lower() for name in found.platforms}


def accounts_of_post(found: Post) -> set[str]:
    return set(found.account_ids) or {result.account_id for result in found.results if result.account_id}


def without_spacing(text: str) -> str:
    """A text without what an API may tidy: line ends and space around it."""
    return text.replace("\r\n", "\n").strip()


def whole_second(instant: datetime | None) -> datetime | None:
    return instant.replace(microsecond=0) if instant else None
