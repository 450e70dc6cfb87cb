"""Prompts: jobs that the user starts with one click. Plain data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument that the user fills in."""

    name: str
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A job for the assistant, in words. A line with a `{name}` is left out when that argument is."""

    name: str
    title: str
    description: str
    lines: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()

    @property
    def tools(self) -> frozenset[str]:
        """Tools that the prompt names."""
        return tools_in("\n".join(self.lines))

    def render(self, given: Mapping[str, str]) -> str:
        """Fill in the arguments."""
        wanted = [argument.name for argument in self.arguments]
        kept = [line for line in self.lines if all(given.get(name) for name in wanted if f"{{{name}}}" in line)]
        return re.sub(r"\{(\w+)\}", lambda found: given.get(found[1], found[0]), "\n".join(kept))


def tools_in(text: str) -> frozenset[str]:
    """Return the tools that a text names: the only words in it with an underscore, but for `platform_data.key`."""
    return frozenset(re.findall(r"\b[a-z]+_[a-z_]+\b(?!\.\w)", text))


PROMPTS = (
    Prompt(
        "plan_my_week",
        "Plan my week",
        "Draft posts for the coming week, find the best times, and schedule them once you agree.",
        (
            "Plan the social media posts of the next seven days.",
            "Topics: {topics}",
            "Accounts: {account}",
            "1. Call list_integrations, and read the resource ttp://recent-posts for the voice of the accounts.",
            "2. Call list_posts with status scheduled, to avoid repeating a post.",
            "3. Draft the posts, each fitted to its platform, and show them to the user. Ask what to change.",
            "4. Call plan_posts with the agreed texts and show the calendar.",
            "5. Call apply_plan only after the user agrees. Say what was scheduled, with weekdays and times.",
        ),
        (
            Argument("topics", "What the week is about, in a few words."),
            Argument("account", "Accounts or platforms to post to; all when left out."),
        ),
    ),
    Prompt(
        "turn_into_thread",
        "Turn a text into a thread",
        "Split a longer text into an X thread.",
        (
            "Turn the text below into a thread for X: at most 24 parts, each complete in itself and within X's length.",
            "Check it with check_post (content is the first part, thread the rest) and fix what it finds. Then show me the thread.",
            "Ask me for the time; schedule it with create_post only after I agree.",
            "The text:",
            "{text}",
        ),
        (Argument("text", "The text to split.", required=True),),
    ),
    Prompt(
        "weekly_report",
        "Report on the last week",
        "What went out in the last seven days, what failed, and what to learn from it.",
        (
            "Write a short report on my last seven days of social media.",
            "Use list_posts and post_results, both with after: seven days ago, and optimal_times.",
            "Use engagement_summary, whose period isn't known, only if posts have no results.",
            "Say what was published where, which posts did best, what failed and why, and one or two things to try next week.",
            "Name the period of each figure, or say that it isn't known.",
        ),
    ),
    Prompt(
        "what_failed",
        "What failed, and why",
        "Posts that did not reach every account, each with its cause and the next step.",
        (
            "Find the posts that did not reach every account, and help to fix them.",
            "1. Call list_posts with status failed and partial, and check_setup.",
            "2. For each post say which account failed and why, and what the user has to do (for example reconnect an account).",
            "3. Offer to publish the post again, which reaches these accounts only, or to save a draft for them with create_post.",
            "4. Send nothing before the user agrees.",
        ),
    ),
)


def find_prompt(name: str) -> Prompt:
    """Return a prompt by its name."""
    return next(prompt for prompt in PROMPTS if prompt.name == name)
