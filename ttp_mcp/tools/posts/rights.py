"""Rights of the token: a post that the API would refuse for them is refused before it is sent."""

from ttp_mcp.api import Me
from ttp_mcp.api.auth import CAPABILITIES
from ttp_mcp.errors import Refusal
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.tools.posts.rendering import join_words


async def refuse_missing_rights(context: ToolContext, failure: str) -> None:
    """Refuse to schedule posts with a token that can't publish."""
    if problem := describe_missing_right(await context.api.auth.rights(), scheduled=True):
        raise Refusal(f"{failure}: {problem} Nothing was sent.")


def describe_missing_right(me: Me | None, *, scheduled: bool) -> str | None:
    """Return why the token can't send a post, and the next step; None if it can, or if its rights aren't known.

    Args:
        me: What the API says of the token.
        scheduled: True if the post has a time, so that it becomes public; a draft needs less.
    """
    if me is None or (me.can_publish if scheduled else me.can_draft) is not False:
        return None
    step = "Create one that can in the TimeToPost dashboard under Settings → API, and log in with `ttp-mcp login`"
    if not scheduled:
        return f"the API token can't save drafts{_list_rights(me)}. {step}."
    draft = ", or leave scheduled_at out to save a draft" if me.can_draft else ""
    return f"the API token can't publish posts{_list_rights(me)}. {step}{draft}."


def _list_rights(me: Me) -> str:
    known = [word for word in CAPABILITIES if word in me.capabilities]
    return f" (it may {join_words(known)})" if known else ""
