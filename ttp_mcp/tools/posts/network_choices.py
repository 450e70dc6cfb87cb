"""Compare the choices in platform_data with what the networks offer: boards by name, and the options of a TikTok account."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ttp_mcp.api import ApiError, Board, CreatorInfo, Integration, NotFound
from ttp_mcp.errors import describe_cause
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.platforms.media_checks import round_up
from ttp_mcp.platforms.rules import find_platform, is_missing
from ttp_mcp.text import fold_text, join_words, quote_text, show_id
from ttp_mcp.toolkit.account_directory import AccountIndex, account_label
from ttp_mcp.toolkit.context import ToolContext

MOST_BOARDS = 20
# The cause of a 404 of the boards, and of the options of a TikTok account.
NO_BOARDS, NO_CREATOR = "no Pinterest account is connected", "the API doesn't have it as connected"
# Switch of platformData, argument, and word for the interaction that a TikTok account can have disabled.
_INTERACTIONS = (
    ("allowComments", "allow_comments", "comments"),
    ("allowDuet", "allow_duet", "duet"),
    ("allowStitch", "allow_stitch", "stitch"),
)


@dataclass(slots=True)
class NetworkChoices:
    """platform_data as the API takes it, what is wrong with it, and notes for the user such as the board that was found."""

    platform_data: dict[str, Any]
    errors: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


class NetworkOptions:
    """Options of the networks, read when a post needs them and kept only for one call."""

    def __init__(self, context: ToolContext) -> None:
        """Read nothing yet."""
        self._context = context
        self._boards: list[Board] | None = None
        self._creators: dict[str, CreatorInfo] = {}

    async def check(
        self,
        platform_data: Mapping[str, Any],
        targets: Collection[Integration],
        media_urls: Sequence[str],
        *,
        scheduled: bool,
    ) -> NetworkChoices:
        """Find the board of a pin, and compare a TikTok post with what its account offers.

        `platform_data` is in the API's spelling; its `pinterest.board` is a board's name or id. A draft may lack
        choices, a `scheduled` post may not.
        """
        found = NetworkChoices(dict(platform_data))
        await self._find_board(found, wanted=any(account.platform == "pinterest" for account in targets))
        tiktok = [account for account in targets if account.platform == "tiktok"]
        # A post with several is refused by the rules of the platform.
        if len(tiktok) == 1:
            await self._compare_with_creator(found, tiktok[0], media_urls, scheduled=scheduled)
        return found

    async def _find_board(self, found: NetworkChoices, *, wanted: bool) -> None:
        block = _copy_block(found.platform_data, "pinterest")
        named = block.pop("board", None)
        if named is not None:
            block["boardId"] = named
            found.platform_data["pinterest"] = block
        board = block.get("boardId")
        if not wanted or not isinstance(board, str) or not board.strip():
            return
        try:
            if self._boards is None:
                self._boards = await self._context.api.integrations.boards()
        except ApiError as error:
            shown, cause = quote_text(board, 60), describe_failure(error, NO_BOARDS)
            if named is None:
                found.warnings.append(f"Pinterest: whether the board {shown} exists couldn't be checked: {cause}")
            else:
                found.errors.append(
                    f"Pinterest: the board {shown} can't be looked up: {cause} Pass its id as board_id."
                )
            return
        _choose_board(found, block, board, self._boards)
        # Read once: the accounts may expire between two reads.
        kept = self._context.accounts.kept_accounts
        if kept and (doubt := describe_board_owners(kept)):
            found.warnings.append(f"Pinterest: {doubt}")

    async def _compare_with_creator(
        self, found: NetworkChoices, account: Integration, media_urls: Sequence[str], *, scheduled: bool
    ) -> None:
        label = account_label(account)
        try:
            if account.id not in self._creators:
                self._creators[account.id] = await self._context.api.integrations.creator_info(account.id)
        except ApiError as error:
            cause = describe_failure(error, NO_CREATOR)
            found.warnings.append(f"TikTok: whether {label} offers these choices couldn't be checked: {cause}")
            return
        creator, block = self._creators[account.id], _copy_block(found.platform_data, "tiktok")
        facts = await self._context.ledger.media_facts.find(media_urls)
        found.errors += find_tiktok_errors(creator, block, [facts.get(url) for url in media_urls], label)
        if _is_incomplete(block):
            words = f"TikTok: {label} offers {describe_creator(creator)}."
            (found.errors if scheduled else found.warnings).append(words)


def describe_board_owners(book: AccountIndex) -> str | None:
    """Describe whose boards the API lists if several Pinterest accounts are connected; it doesn't say which one's."""
    labels = [account_label(account) for account in book.list_on("pinterest")]
    if len(labels) < 2:
        return None
    return (
        f"{join_words(labels)} are connected, and the API lists the boards of one of them without its name. A pin fails if the "
        "board belongs to another account, so ask the user whose board it is."
    )


def _copy_block(data: Mapping[str, Any], platform: str) -> dict[str, Any]:
    block: object = data.get(platform)
    return dict(cast("dict[str, Any]", block)) if isinstance(block, dict) else {}


def describe_failure(error: ApiError, if_not_found: str) -> str:
    """Return why the boards, or the options of one TikTok account, could not be read, as a sentence."""
    if not isinstance(error, NotFound):
        return describe_cause(error)
    said = f"; the API said {quote_text(error.message, 160)}" if error.message else ""
    return f"{if_not_found} ({error.status}){said}."


def _choose_board(found: NetworkChoices, block: dict[str, Any], wanted: str, boards: Sequence[Board]) -> None:
    shown, matches = quote_text(wanted, 60), match_boards(wanted, boards)
    if len(matches) == 1:
        found.platform_data["pinterest"] = {**block, "boardId": matches[0].id}
        found.notes.append(f"Board: {render_board(matches[0])}.")
    elif matches:
        words = f"{shown} matches {len(matches)} boards: {_list_boards(matches)}. Ask the user which, and pass its id as board."
        found.errors.append(f"Pinterest: {words}")
    elif wanted.strip().isdecimal():
        # An id of Pinterest's own. The API can list fewer boards than there are.
        found.warnings.append(f"Pinterest: the API lists no board {shown}; it is sent as it is.")
    else:
        listed = _list_boards(boards) if boards else "none"
        found.errors.append(f"Pinterest: no board is named {shown}. Boards: {listed}. Pass one of their ids as board.")


def match_boards(wanted: str, boards: Sequence[Board]) -> list[Board]:
    """Return the boards with this id, else with this name, else with this in their name, in any case."""
    word = fold_text(wanted.strip())
    by_id = [board for board in boards if board.id == wanted.strip()]
    by_name = by_id or [board for board in boards if fold_text(board.name.strip()) == word]
    return by_name or [board for board in boards if word in fold_text(board.name)]


def _list_boards(boards: Sequence[Board]) -> str:
    more = f" and {len(boards) - MOST_BOARDS} more" if len(boards) > MOST_BOARDS else ""
    return ", ".join(render_board(board) for board in boards[:MOST_BOARDS]) + more


def render_board(board: Board) -> str:
    """Return `«Recipes» (board-recipes)`."""
    return f"{quote_text(board.name, 60)} ({show_id(board.id)})" if board.name else show_id(board.id)


def find_tiktok_errors(
    creator: CreatorInfo, block: Mapping[str, Any], media: Sequence[MediaFacts | None], label: str
) -> list[str]:
    """Find what a TikTok account doesn't offer; `label` names the account."""
    errors: list[str] = []
    levels, privacy = creator.privacy_levels, block.get("privacy")
    if levels and isinstance(privacy, str) and privacy and privacy not in levels:
        errors.append(
            f"TikTok: {label} doesn't offer the privacy {quote_text(privacy, 60)}. It offers {', '.join(levels)}; ask its owner which."
        )
    for switch, argument, word in _INTERACTIONS:
        if block.get(switch) is True and _is_disabled(creator, word):
            errors.append(f"TikTok: {word} is disabled on {label}. Pass {argument} false, if its owner agrees.")
    for number, facts in enumerate(media, 1):
        seconds = facts.duration_seconds if facts and facts.is_video else None
        if seconds is not None and creator.max_video_seconds is not None and seconds > creator.max_video_seconds:
            errors.append(
                f"TikTok: {label} takes videos of at most {creator.max_video_seconds:.0f} s; media_urls entry {number} has "
                f"{round_up(seconds)} s. Shorten it."
            )
    return errors


def _is_disabled(creator: CreatorInfo, word: str) -> bool | None:
    """Check whether an interaction is disabled; None if the API doesn't say."""
    disabled = {"comments": creator.comment_disabled, "duet": creator.duet_disabled, "stitch": creator.stitch_disabled}
    return disabled[word]


def describe_creator(creator: CreatorInfo) -> str:
    """Describe what a TikTok account offers, without a full stop."""
    disabled = [word for *_, word in _INTERACTIONS if _is_disabled(creator, word)]
    allowed = [word for *_, word in _INTERACTIONS if _is_disabled(creator, word) is False]
    parts = [f"privacy {' or '.join(creator.privacy_levels)}"] if creator.privacy_levels else []
    parts += [f"{join_words(allowed)} as its owner chooses"] if allowed else []
    parts += [f"{join_words(disabled)} disabled"] if disabled else []
    parts += [f"videos of at most {creator.max_video_seconds:.0f} s"] if creator.max_video_seconds is not None else []
    return "; ".join(parts)


def _is_incomplete(block: Mapping[str, Any]) -> bool:
    platform = find_platform("tiktok")
    fields = platform.fields.values() if platform else ()
    return any(each.required and is_missing(block.get(each.name)) for each in fields)
