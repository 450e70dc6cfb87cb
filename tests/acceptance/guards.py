"""Every guard of the server, and what shows that it is needed: a test that fails when the guard is removed.

`REMOVED` holds what is put in a guard's place and the ordinary test that must fail then. `PROVEN` names the tests that remove
their guard themselves. This module is also the pytest plugin that does the removing, in a process of its own.
"""

import importlib
import json
import os
import re
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from ttp_mcp.api.transport import Incoming, Outgoing
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.media.metadata import UNREADABLE
from ttp_mcp.server import resources


@dataclass(frozen=True, slots=True)
class Removal:
    """A guard at `place` (`module:name` or `module:class.name` below ttp_mcp); `instead` builds its replacement."""

    place: str
    instead: Callable[[Any], Any]
    test: str


def _do_nothing(*_: object, **__: object) -> None:
    """A check that never objects."""


def return_fixed(value: object) -> Callable[[Any], Any]:
    """Build a function that always returns `value`."""
    return lambda _: lambda *_, **__: value


def return_argument(_: Any) -> Callable[[Any], Any]:
    """Return the argument unchanged."""
    return lambda given, *_, **__: given


def remove_check(_: Any) -> Callable[..., None]:
    """Build a check that never objects."""
    return _do_nothing


def replace_constant(value: object) -> Callable[[Any], Any]:
    """Replace a constant."""
    return lambda _: value


def return_fixed_async(value: object) -> Callable[[Any], Any]:
    """Build a coroutine function that always returns the same value."""

    def make(_: Any) -> Any:
        async def say(*_: object, **__: object) -> object:
            return value

        return say

    return make


def allow_everything(there: dict[str, Any]) -> dict[str, Any]:
    """Grant every mode what `full` grants."""
    return dict.fromkeys(there, there["full"])


def send_without_record(there: Any) -> Any:
    """Continue a write whose intent couldn't be recorded."""

    async def begin(*arguments: Any) -> bool:
        try:
            return await there(*arguments)
        except LedgerProblem:
            return True

    return begin


def skip_counting(_: Any) -> Any:
    """Upload without counting against the limit or recording."""

    @asynccontextmanager
    async def upload(*_: object, **__: object) -> AsyncGenerator[None]:
        yield

    return upload


def keep_confirmation(_: Any) -> Any:
    """Keep a confirmation valid after use."""

    async def redeem(self: Any, code: str, digest: str) -> bool:
        from ttp_mcp.ledger.store.base import digest_of

        key = digest_of([code, digest])
        return await self.store.get_one("confirmation", key) is not None

    return redeem


def accept_any_text(there: Any) -> Any:
    """Accept a token of any form."""

    def keep(self: Any, text: str) -> None:
        there(self, "ttp_" + "0" * 48)
        self._text = text

    return keep


def accept_any_later_post(_: Any) -> Any:
    """Accept a post created at any time after the write began."""

    def is_later(post: Any, since: Any) -> bool:
        return since is None or post.created_at is None or since <= post.created_at

    return is_later


def always_resolve(there: Any) -> Any:
    """Count a post as resolved although the ledger refused it."""

    async def resolve(*arguments: Any) -> bool:
        await there(*arguments)
        return True

    return resolve


def accept_any_use(there: Any) -> Any:
    """Accept any key of the issuer, for any use."""

    async def find(self: Any, kid: str) -> dict[str, Any] | None:
        key = await there(self, kid)
        return key and {name: value for name, value in key.items() if name not in ("use", "alg")}

    return find


def remove_binding(name: str) -> Any:
    """Leave one argument out of what a confirmation covers."""

    def make(there: Any) -> Any:
        async def require(*given: Any, binding: dict[str, Any], **named: Any) -> bool:
            kept = {key: value for key, value in binding.items() if key != name}
            return await there(*given, binding=kept, **named)

        return require

    return make


def set_options(**options: Any) -> Any:
    """Call a constructor with other options."""
    return lambda there: lambda *given, **named: there(*given, **{**named, **options})


def send_through_client(**options: Any) -> Any:
    """A transport that sends through a whole client, which keeps cookies, and follows redirects and proxies if asked.

    It joins the base URL and the path as text, so a path can name another host.
    """

    class ClientTransport:
        def __init__(self, home: httpx2.URL, *, tls: Any, **_: Any) -> None:
            self._home = f"{home.scheme}://{home.netloc.decode()}"
            self._client = httpx2.AsyncClient(verify=tls or False, **options)

        @asynccontextmanager
        async def open(self, request: Outgoing) -> AsyncGenerator[Incoming]:
            request.is_sent = True
            headers = [(name, value) for name, value in request.headers if name != b"Host"]
            url = self._home + request.target.decode()
            sent = self._client.build_request(request.method, url, headers=headers, content=request.body)
            response = await self._client.send(sent, stream=True)
            yield Incoming(response.status_code, response.headers, response.aiter_raw())
            await response.aclose()

        async def aclose(self) -> None:
            await self._client.aclose()

    return ClientTransport


def skip_second_look(_: Any) -> Any:
    """A queue whose calls are sent although the API refused one in the meantime."""

    @asynccontextmanager
    async def slot(self: Any, deadline: float) -> AsyncGenerator[None]:
        probe = await self.wait(deadline) if self.is_closed else None
        async with self._connections:
            yield
        if probe is not None:
            self.release_probe(probe)

    return slot


async def pass_on(ctx: Any, call_next: Any) -> Any:
    """Return a message unchanged."""
    return await call_next(ctx)


async def allow_any_post(post_id: str, app: Any) -> Any:
    """Allow deleting a post in any state."""
    return await app.api.posts.get(post_id)


API, WRITES, TOOLS, SERVER = "tests/api", "tests/writes", "tests/tools", "tests/server"
HTTP = "tests/transports/http"
REMOVED: dict[str, Removal] = {
    # The API client
    "access, in the client": Removal(
        "api.http:ALLOWED_EFFECTS",
        allow_everything,
        f"{API}/test_requests.py::test_nothing_is_sent_without_a_usable_token_or_permission",
    ),
    "toolsets, in the client": Removal(
        "api.http:Http._check_permission",
        remove_check,
        f"{SERVER}/test_toolsets.py::test_api_client_refuses_what_no_offered_tool_needs",
    ),
    "toolsets, for resources": Removal(
        "server.mcp_server:resources.select_resources",
        return_fixed(resources.RESOURCES),
        f"{SERVER}/test_toolsets.py::test_toolset_alone_lists_and_reads_its_own_resources_and_prompts",
    ),
    "no cookies": Removal(
        "api.connections:ConnectionPool",
        replace_constant(send_through_client()),
        f"{API}/test_requests.py::test_cookies_of_the_api_are_not_kept",
    ),
    "status before body": Removal(
        "api.http:Http._read_refusal",
        replace_constant(lambda self, response: self._read_body(response, 1 << 40)),
        f"{API}/test_requests.py::test_status_of_a_refusal_decides_even_if_its_body_is_unreadable",
    ),
    "hold before the words": Removal(
        "api.http:RateLimitGate.close",
        remove_check,
        f"{API}/test_requests.py::test_rate_limit_holds_before_its_message_arrives_and_after_the_call_is_cancelled",
    ),
    "calls in the queue": Removal(
        "api.rate_limit:RateLimitGate.slot",
        skip_second_look,
        f"{API}/test_requests.py::test_call_in_the_queue_waits_after_a_rate_limit",
    ),
    "attempts of a read": Removal(
        "api.retry:READ_ATTEMPTS",
        replace_constant(99),
        f"{API}/test_requests.py::test_read_is_tried_three_times_with_full_jitter",
    ),
    "longest wait": Removal(
        "api.retry:LONGEST_WAIT_SECONDS",
        replace_constant(1e9),
        f"{API}/test_requests.py::test_long_wait_is_reported_at_once",
    ),
    "429 waits": Removal(
        "api.rate_limit:DEFAULT_HOLD_SECONDS",
        replace_constant(0.0),
        f"{API}/test_requests.py::test_rate_limit_without_a_usable_time_waits_a_second",
    ),
    "429 that says at once": Removal(
        "api.rate_limit:LEAST_HOLD_SECONDS",
        replace_constant(0.0),
        f"{API}/test_requests.py::test_rate_limits_with_retry_after_zero_cause_four_requests_a_second",
    ),
    "longest hold": Removal(
        "api.rate_limit:LONGEST_HOLD_SECONDS",
        replace_constant(1e12),
        f"{API}/test_requests.py::test_implausible_wait_holds_for_an_hour",
    ),
    "odd dates": Removal(
        "api.clock:EARLIEST_YEAR",
        replace_constant(0),
        f"{API}/test_clock.py::test_unreadable_or_implausible_date_is_ignored",
    ),
    "ids in paths": Removal(
        "api.posts:encode_id",
        replace_constant(lambda _, post_id: post_id),
        f"{API}/test_endpoints.py::test_id_of_dots_stays_one_path_segment",
    ),
    "request ids": Removal(
        "api.responses:_REQUEST_ID",
        replace_constant(re.compile(".*", re.DOTALL)),
        f"{API}/test_classification.py::test_malformed_request_id_is_dropped",
    ),
    "hosts of redirects": Removal(
        "api.responses:_HOST",
        replace_constant(re.compile(".*", re.DOTALL)),
        f"{API}/test_classification.py::test_redirect_names_only_the_host",
    ),
    "refusals of a proxy": Removal(
        "api.responses:_find_foreign_reason",
        return_fixed(None),
        f"{API}/test_classification.py::test_refusal_that_is_not_the_apis_json_is_a_bad_answer",
    ),
    "networks of nobody's storage": Removal(
        "api.ssrf:_RESERVED",
        replace_constant(()),
        f"{API}/test_ssrf.py::test_special_purpose_address_is_not_public",
    ),
    "age of upload URLs": Removal(
        "api.upload:_Transfer._blocks",
        lambda there: lambda self: (setattr(self, "_fresh", lambda: True), there(self))[1],
        f"{API}/test_upload.py::test_expired_url_is_not_used",
    ),
    "three PUTs at most": Removal(
        "api.media:PUTS",
        replace_constant(99),
        f"{API}/test_media.py::test_persistent_failure_is_raised_with_its_reason",
    ),
    "storage on this machine": Removal(
        "api.client:is_on_this_machine",
        return_fixed(True),
        "tests/acceptance/test_hosts.py::test_a7_uploads_connect_only_to_checked_public_addresses",
    ),
    "statuses of the storage": Removal(
        "api.upload:_check_status", remove_check, f"{API}/test_upload.py::test_each_status_has_its_meaning"
    ),
    # Writes and their memory
    "noted before it is sent": Removal(
        "ledger.ledger:Ledger._begin",
        send_without_record,
        f"{WRITES}/test_ledger.py::test_write_that_cannot_be_recorded_is_not_sent",
    ),
    "publish noted before it is sent": Removal(
        "ledger.ledger:Ledger._begin",
        send_without_record,
        f"{WRITES}/test_publish.py::test_publish_that_cannot_be_recorded_is_not_sent",
    ),
    "publish that may still arrive": Removal(
        "ledger.publications:Publications.is_recent",
        return_fixed(False),
        f"{TOOLS}/posts/test_publish.py::test_request_that_may_still_arrive_is_not_sent_again",
    ),
    "one retry for an account": Removal(
        "ledger.ledger:find_prior",
        return_fixed(None),
        f"{WRITES}/test_publish.py::test_retry_for_the_same_accounts_is_made_once_at_any_time",
    ),
    "failed as before proves nothing": Removal(
        "writes.reconcile:has_started",
        return_fixed(True),
        f"{WRITES}/test_publish.py::test_lost_response_is_resolved_by_the_status_of_the_post",
    ),
    "posts of other writes": Removal(
        "ledger.ledger:Ledger.find_claimed_posts",
        return_fixed_async(set()),
        f"{WRITES}/test_identity.py::test_post_of_another_write_is_never_claimed",
    ),
    "rival writes": Removal(
        "ledger.ledger:Ledger.has_unresolved_twin",
        return_fixed_async(False),
        f"{WRITES}/test_identity.py::test_without_account_ids_two_open_writes_of_one_text_are_kept_apart",
    ),
    "accounts of a platform": Removal(
        "ledger.ledger:claim_keys",
        lambda there: (
            lambda digest, account_ids, platforms=(): there(digest, () if platforms else account_ids, platforms)
        ),
        f"{WRITES}/test_duplicates.py::test_account_and_its_platform_are_one_target",
    ),
    "looked for as it was sent": Removal(
        "ledger.records:PriorCreate.as_sent",
        replace_constant(lambda _, post: post),
        f"{WRITES}/test_duplicates.py::test_search_uses_the_targets_of_the_earlier_attempt",
    ),
    "one reading is not gone": Removal(
        "writes.duplicates:Duplicates._is_gone",
        return_fixed_async(True),
        f"{WRITES}/test_duplicates.py::test_post_missing_from_one_read_is_not_gone",
    ),
    "limits an hour": Removal(
        "ledger.ledger:RateCap",
        return_fixed(None),
        f"{WRITES}/test_limits.py::test_limits_an_hour_refuse_with_the_time_of_the_next_write",
    ),
    "upload URLs are counted": Removal(
        "writes.writer:Writer.upload",
        skip_counting,
        f"{TOOLS}/test_media.py::test_upload_urls_count_as_uploads",
    ),
    "cancelled before it leaves": Removal(
        "writes.writer:Writer._stop_cancelled",
        return_fixed_async(None),
        f"{WRITES}/test_cancel.py::test_write_cancelled_before_its_request_is_not_sent",
    ),
    "given up at the end": Removal(
        "writes.in_flight:InFlight.abandon",
        return_fixed_async(False),
        f"{WRITES}/test_cancel.py::test_closing_the_server_leaves_no_write_without_an_outcome",
    ),
    "given up before the drain of stdio is over": Removal(
        "transports.stdio.shutdown:Shutdown._abandon_writes",
        remove_check,
        "tests/transports/stdio/test_stdio.py::test_write_beyond_the_drain_is_recorded_as_unknown",
    ),
    "nothing is begun at the end": Removal(
        "writes.in_flight:InFlight._refuse_if_abandoned",
        remove_check,
        f"{WRITES}/test_cancel.py::test_no_write_begins_after_writes_were_abandoned",
    ),
    "lost delete": Removal(
        "writes.reconcile:Reconciler.is_deleted",
        return_fixed_async((True, False)),
        f"{WRITES}/test_delete.py::test_delete_is_unknown_while_the_api_is_unavailable",
    ),
    "what a delete removed": Removal(
        "ledger.ledger:Ledger.find_deleted_post",
        return_fixed_async(None),
        f"{WRITES}/test_delete.py::test_second_delete_reports_gone_and_an_unknown_id_not_found",
    ),
    "equal in every field": Removal(
        "writes.reconcile:_has_same_targets",
        return_fixed(True),
        f"{WRITES}/test_matching.py::test_fields_that_the_api_shows_must_match",
    ),
    "leftovers are said": Removal(
        "ledger.ledger:Ledger.list_unfinished",
        return_fixed_async([]),
        f"{WRITES}/test_startup_report.py::test_open_write_is_reported_at_once_and_again_once_its_process_has_ended",
    ),
    "one replacement at a time": Removal(
        "ledger.replacements:Replacements.begin",
        return_fixed_async(None),
        "tests/ledger/test_ledger.py::test_post_has_one_pending_replacement_at_a_time",
    ),
    "half replaced": Removal(
        "ledger.replacements:Replacements.list_interrupted",
        return_fixed_async([]),
        "tests/writes/replacement/test_half_replaced.py::test_crash_between_create_and_delete_is_reported_with_both_ids",
    ),
    "users apart": Removal(
        "factory:scope_of",
        return_fixed("one"),
        f"{SERVER}/test_factory.py::test_each_user_has_their_own_ledger_and_token",
    ),
    "equal calls at once": Removal(
        "writes.replacement:Replacer._reserve",
        return_fixed(True),
        f"{TOOLS}/posts/test_reschedule.py::test_concurrent_equal_calls_are_serialized",
    ),
    "old post that is deleted elsewhere": Removal(
        "writes.replacement:Replacer._exists",
        return_fixed_async(True),
        f"{TOOLS}/posts/test_reschedule.py::test_replacement_stays_when_the_old_post_is_deleted_elsewhere",
    ),
    "accounts that a duplicate is not for": Removal(
        "ledger.claims:list_missing",
        return_fixed(()),
        f"{TOOLS}/posts/test_reschedule.py::test_partial_duplicate_does_not_replace_the_old_post",
    ),
    "claims of other writes": Removal(
        "ledger.claims:list_others",
        return_fixed([]),
        f"{WRITES}/test_duplicates.py::test_refused_write_keeps_the_claim_of_a_later_duplicate",
    ),
    "a retry that looks the same": Removal(
        "ledger.claims:normalize_text",
        return_argument,
        f"{WRITES}/test_duplicates.py::test_retry_with_only_invisible_differences_is_a_duplicate",
    ),
    "posts of later": Removal(
        "writes.reconcile:_is_created_in_time",
        accept_any_later_post,
        f"{WRITES}/test_identity.py::test_equal_post_that_was_created_long_after_the_attempt_is_not_taken_for_it",
    ),
    "look that hangs": Removal(
        "writes.reconcile:Reconciler._time_left",
        return_fixed(None),
        f"{WRITES}/test_search.py::test_read_that_hangs_is_abandoned",
    ),
    "replacement that can't be recorded": Removal(
        "writes.replacement:LedgerProblem",
        replace_constant(ZeroDivisionError),
        f"{TOOLS}/posts/test_reschedule.py::test_replacement_is_deleted_when_the_delete_cannot_be_recorded",
    ),
    "replacement that may exist": Removal(
        "writes.replacement:EarlierAttempt",
        replace_constant(ZeroDivisionError),
        f"{TOOLS}/posts/test_reschedule.py::test_unclear_replacement_stays_recorded_when_the_call_is_repeated",
    ),
    "copy that is left": Removal(
        "writes.duplicates:Duplicates._have_others",
        return_fixed_async(True),
        f"{WRITES}/test_duplicates.py::test_create_for_accounts_of_two_posts_names_the_remaining_ones",
    ),
    "post that another process claimed": Removal(
        "ledger.ledger:Ledger.resolve",
        always_resolve,
        f"{WRITES}/test_identity.py::test_post_that_another_process_claimed_first_is_only_a_candidate",
    ),
    "clock that is ahead": Removal(
        "ledger.store.sqlite:_earlier_clock",
        return_argument,
        "tests/ledger/store/test_sqlite.py::test_documents_that_expired_a_day_ago_are_removed",
    ),
    "shutdown during a reschedule": Removal(
        "writes.in_flight:InFlight.track",
        lambda _: lambda *_: nullcontext(),
        f"{WRITES}/replacement/test_half_replaced.py::test_shutdown_between_create_and_delete_waits_for_both",
    ),
    "cancel of a reschedule": Removal(
        "tools.posts.reschedule:run_shielded",
        lambda _: lambda steps: steps(),
        f"{WRITES}/replacement/test_half_replaced.py::test_cancelled_reschedule_ends_with_one_post",
    ),
    "private file": Removal(
        "ledger.store.sqlite:_make_private",
        remove_check,
        "tests/ledger/store/test_sqlite.py::test_file_and_folder_are_private",
    ),
    # The user
    "confirmation counts once": Removal(
        "ledger.confirmations:Confirmations.redeem",
        keep_confirmation,
        "tests/ledger/test_ledger.py::test_confirmation_works_once_for_its_arguments_until_it_expires",
    ),
    "confirmation is for its arguments": Removal(
        "toolkit.confirmation:digest_of",
        return_fixed("the same"),
        "tests/toolkit/test_confirmation.py::test_confirmation_covers_exactly_what_was_shown",
    ),
    "yes to the post as it was shown": Removal(
        "tools.posts.delete:visible_fields",
        return_fixed([]),
        "tests/toolkit/test_confirmation.py::test_yes_to_a_delete_is_for_the_post_as_it_was_shown",
    ),
    "changed while the user thinks": Removal(
        "tools.posts.reschedule:refuse_changed",
        remove_check,
        "tests/toolkit/test_confirmation.py::test_post_that_is_changed_while_the_user_thinks_is_left",
    ),
    "no in required mode": Removal(
        "tools.posts.delete:require_confirmation",
        return_fixed_async(True),
        "tests/toolkit/test_confirmation.py::test_declined_in_required_mode_sends_nothing",
    ),
    "accounts in a confirmation": Removal(
        "tools.posts.create:confirmation_binding",
        lambda there: lambda *of: {**there(*of), "accounts": []},
        "tests/toolkit/test_confirmation.py::test_confirmation_for_a_platform_ends_when_another_account_is_connected_there",
    ),
    "five minutes for a yes": Removal(
        "toolkit.confirmation:CONFIRMATION_SECONDS",
        replace_constant(1e6),
        "tests/toolkit/test_confirmation.py::test_yes_after_five_minutes_does_not_count",
    ),
    "code is no answer": Removal(
        "server.elicitation:digest_of",
        lambda there: lambda binding, _: there(binding, "code"),
        "tests/toolkit/test_confirmation.py::test_preview_code_and_question_state_are_not_interchangeable",
    ),
    "confirmation ends": Removal(
        "toolkit.confirmation:CONFIRMATION_SECONDS",
        replace_constant(10_000_000),
        "tests/toolkit/test_confirmation.py::test_confirmation_expires_after_five_minutes",
    ),
    "user is asked": Removal(
        "tools.posts.create:require_confirmation",
        return_fixed_async(None),
        "tests/toolkit/test_confirmation.py::test_only_posts_due_soon_are_confirmed",
    ),
    "a clear yes": Removal(
        "server.elicitation:_is_accepted",
        return_fixed(True),
        f"{SERVER}/test_elicitation.py::test_only_an_explicit_yes_confirms",
    ),
    "only who can ask is asked": Removal(
        "server.elicitation:_can_elicit",
        return_fixed(True),
        f"{SERVER}/test_elicitation.py::test_only_a_client_that_shows_forms_is_asked",
    ),
    # Tools
    "access, at registration": Removal(
        "toolkit.registry:ALLOWED_EFFECTS",
        allow_everything,
        f"{TOOLS}/test_every_tool.py::test_access_offers_only_tools_of_its_effects",
    ),
    "outgoing text": Removal(
        "tools.posts.validation:find_text_errors",
        return_fixed([]),
        f"{TOOLS}/posts/test_posts.py::test_unpublishable_text_is_refused_not_altered",
    ),
    "deceiving text": Removal(
        "tools.posts.validation:find_text_warnings",
        return_fixed([]),
        f"{TOOLS}/posts/test_check.py::test_deceptive_text_is_a_warning",
    ),
    "media addresses": Removal(
        "tools.posts.validation:find_unhosted",
        return_fixed(()),
        f"{TOOLS}/posts/test_posts.py::test_unfetchable_media_is_refused",
    ),
    "unnamed platforms": Removal(
        "tools.posts.validation:refuse_unnamed_platforms",
        remove_check,
        f"{TOOLS}/posts/test_posts.py::test_ambiguous_targets_are_refused",
    ),
    "rules of platforms": Removal(
        "tools.posts.create:refuse_errors",
        remove_check,
        f"{TOOLS}/posts/test_posts.py::test_platform_rules_are_checked_before_sending",
    ),
    "past times": Removal(
        "tools.posts.prepare:refuse_past",
        remove_check,
        f"{TOOLS}/posts/test_check.py::test_past_time_would_not_be_sent",
    ),
    "past times by the clock of the API": Removal(
        "tools.posts.prepare:refuse_past",
        remove_check,
        f"{TOOLS}/posts/test_check.py::test_time_past_by_the_apis_clock_would_not_be_sent",
    ),
    "yes that comes late": Removal(
        "tools.posts.create:refuse_past",
        remove_check,
        f"{TOOLS}/posts/test_posts.py::test_late_confirmation_sends_nothing",
    ),
    "posts that are publishing": Removal(
        "tools.posts.delete:_read_deletable",
        replace_constant(allow_any_post),
        f"{TOOLS}/posts/test_posts.py::test_delete_of_a_publishing_post_is_refused",
    ),
    "plans that were altered": Removal(
        "tools.plans.stored_plan:StoredPlan.refuse_altered",
        remove_check,
        f"{TOOLS}/plans/test_plans.py::test_altered_plan_is_refused",
    ),
    "plans whose time has passed": Removal(
        "tools.plans.apply:_refuse_late",
        remove_check,
        f"{TOOLS}/plans/test_plans.py::test_plan_whose_times_passed_is_refused",
    ),
    "user is asked about a plan": Removal(
        "tools.plans.apply:require_confirmation",
        return_fixed_async(False),
        f"{TOOLS}/plans/test_plans.py::test_user_is_asked_once_for_the_whole_plan",
    ),
    "declined plan in required mode": Removal(
        "tools.plans.apply:require_confirmation",
        return_fixed_async(False),
        f"{TOOLS}/plans/test_guards.py::test_declined_plan_is_not_applied_in_required_mode",
    ),
    "declined undo in required mode": Removal(
        "tools.plans.undo:require_confirmation",
        return_fixed_async(False),
        f"{TOOLS}/plans/test_guards.py::test_declined_plan_is_not_undone_in_required_mode",
    ),
    "code for what was left of a plan": Removal(
        "toolkit.confirmation:digest_of",
        return_fixed("the same"),
        f"{TOOLS}/plans/test_guards.py::test_code_for_pending_posts_covers_no_others",
    ),
    "code for one plan": Removal(
        "tools.plans.apply:require_confirmation",
        remove_binding("plan_id"),
        f"{TOOLS}/plans/test_guards.py::test_code_for_a_plan_covers_no_other_plan",
    ),
    "lead before a planned time": Removal(
        "tools.plans.apply:SEND_LEAD",
        replace_constant(timedelta(0)),
        f"{TOOLS}/plans/test_guards.py::test_post_due_within_a_minute_is_not_applied",
    ),
    "user is asked about a replacement": Removal(
        "tools.posts.reschedule:require_confirmation",
        return_fixed_async(False),
        "tests/toolkit/test_confirmation.py::test_reschedule_to_now_is_confirmed",
    ),
    "what an unclear apply made": Removal(
        "tools.plans.undo:_recall_attempts",
        return_fixed_async([]),
        f"{TOOLS}/plans/test_plans.py::test_undo_searches_for_posts_of_an_unclear_apply",
    ),
    "posts of other plans": Removal(
        "tools.plans.stored_plan:StoredPlan.creator",
        replace_constant("apply_plan"),
        f"{TOOLS}/plans/test_plans.py::test_undo_keeps_a_post_that_another_plan_created",
    ),
    "plan's posts that are not found": Removal(
        "tools.plans.undo:_is_gone",
        return_fixed_async(True),
        f"{TOOLS}/plans/test_plans.py::test_post_missing_from_a_lagging_replica_is_kept",
    ),
    "user is asked about publishing": Removal(
        "tools.posts.publish:require_confirmation",
        return_fixed_async(False),
        f"{TOOLS}/posts/test_publish.py::test_user_is_asked_first_and_a_refusal_sends_nothing",
    ),
    "changed while the user is asked about publishing": Removal(
        "tools.posts.publish:_refuse_other_step",
        remove_check,
        f"{TOOLS}/posts/test_publish.py::test_post_that_changes_while_the_user_is_asked_is_left",
    ),
    "only failed accounts are sent a post again": Removal(
        "tools.posts.publish:_list_failed_accounts",
        replace_constant(lambda post: post.target_ids),
        f"{TOOLS}/posts/test_publish.py::test_partial_post_is_sent_again_to_the_failed_account_only",
    ),
    "accounts that have the post by another one": Removal(
        "tools.posts.publish:find_accounts_with",
        return_fixed({}),
        f"{TOOLS}/posts/test_publish.py::test_account_that_got_the_post_by_create_post_is_left_out",
    ),
    "posts that a reschedule made already": Removal(
        "tools.posts.publish:_refuse_pending_replacement",
        return_fixed_async(None),
        f"{TOOLS}/posts/test_publish.py::test_post_with_an_unfinished_reschedule_is_refused",
    ),
    "rules of platforms for a draft that is published": Removal(
        "tools.posts.publish:refuse_errors",
        remove_check,
        f"{TOOLS}/posts/test_publish.py::test_post_that_a_platform_would_refuse_is_not_sent",
    ),
    "figures four at once": Removal(
        "tools.results:AT_ONCE",
        replace_constant(50),
        f"{TOOLS}/test_results.py::test_window_reads_at_most_100_posts_four_at_once",
    ),
    "ids that were replaced": Removal(
        "tools.posts.guards:refuse_replaced",
        return_fixed_async(None),
        f"{TOOLS}/posts/test_reschedule.py::test_old_id_leads_to_the_new_one",
    ),
    "posts on their way": Removal(
        "tools.posts.reschedule:refuse_unless_replaceable",
        remove_check,
        f"{TOOLS}/posts/test_reschedule.py::test_published_or_publishing_post_is_refused",
    ),
    # Secrets
    "form of a token": Removal(
        "credentials:Token.__init__",
        accept_any_text,
        "tests/test_credentials.py::test_malformed_token_is_refused_by_rule_without_repeating_it",
    ),
    "token in repr": Removal(
        "credentials:Token.__repr__",
        replace_constant(lambda self: self._text),
        "tests/test_credentials.py::test_token_shows_only_a_fingerprint",
    ),
    "token is not copied": Removal(
        "credentials:Token.__reduce_ex__",
        replace_constant(lambda self, _: (type(self), (self._text,))),
        "tests/test_credentials.py::test_token_is_not_copied_or_taken_apart",
    ),
    "redaction of logs": Removal(
        "logs:redact", return_argument, f"{SERVER}/test_logs.py::test_no_secret_is_in_any_part_of_a_line"
    ),
    "one line of log": Removal(
        "logs:_UNPRINTABLE",
        replace_constant(re.compile("(?!)")),
        f"{SERVER}/test_logs.py::test_record_is_one_line_with_its_time_in_utc",
    ),
    "talkative loggers": Removal(
        "logs:_VERBOSE_LOGGERS",
        replace_constant(()),
        f"{SERVER}/test_logs.py::test_server_built_later_adds_no_handler_and_http_loggers_are_quiet",
    ),
    "redaction of answers": Removal(
        "server.rendering:redact_tokens", return_argument, f"{SERVER}/test_server.py::test_no_answer_contains_the_token"
    ),
    "redaction of names that are sent": Removal(
        "server.mcp_server:redact_names",
        replace_constant(pass_on),
        f"{SERVER}/test_server.py::test_token_sent_as_a_name_is_in_no_span",
    ),
    "redaction of questions": Removal(
        "server.elicitation:redact_tokens",
        return_argument,
        f"{SERVER}/test_elicitation.py::test_token_is_in_no_question",
    ),
    "redaction of encoded tokens": Removal(
        "credentials:_TOKEN_LIKE",
        replace_constant(re.compile("ttp_[0-9a-f]{6,}", re.IGNORECASE)),
        "tests/test_credentials.py::test_anything_of_the_form_of_a_token_is_redacted",
    ),
    "redaction of data": Removal(
        "server.rendering:redact_json",
        return_argument,
        f"{SERVER}/test_server.py::test_no_data_contains_the_token",
    ),
    "redaction of errors": Removal(
        "errors:redact",
        return_argument,
        f"{SERVER}/test_errors.py::test_message_of_the_api_is_quoted_in_one_line_without_a_token",
    ),
    "is repeating safe": Removal(
        "errors:_advise_on_retry",
        return_fixed(""),
        f"{SERVER}/test_errors.py::test_text_has_failure_cause_next_step_and_retry_advice",
    ),
    # Configuration
    "base URL": Removal(
        "config.settings:parse_api_url",
        replace_constant(lambda _, text: text),
        "tests/test_config.py::test_base_url_that_could_mislead_is_refused",
    ),
    "limit of none": Removal(
        "config.settings:_read_count",
        lambda there: lambda *of: there(*of) or None,
        "tests/test_config.py::test_value_that_is_clear_is_understood",
    ),
    "ordinary token file": Removal(
        "config.token_source:_read_ordinary_file",
        replace_constant(lambda path: path.name.encode()),
        "tests/test_config.py::test_file_that_is_not_ordinary_text_is_a_problem_and_does_not_block",
    ),
    "headers that come twice": Removal(
        "transports.http.guard:_ONCE",
        replace_constant(frozenset()),
        "tests/transports/http/test_guard.py::test_repeated_header_is_refused",
    ),
    "two lengths of a body": Removal(
        "transports.http.guard:_check_unambiguous",
        remove_check,
        "tests/transports/http/test_guard.py::test_two_declared_lengths_are_refused",
    ),
    "a write that outlives its call over SSE": Removal(
        "transports.http.app:HttpService.is_busy",
        replace_constant(property(lambda service: service.metrics.in_flight > 0)),
        "tests/transports/http/test_run.py::test_streams_stay_open_while_a_write_is_in_flight",
    ),
    "queued lines after a signal": Removal(
        "transports.stdio.reader:Reader._drop_lines",
        remove_check,
        "tests/transports/stdio/test_stdio.py::test_signal_drops_queued_calls",
    ),
    "a record of a handshake that others may change": Removal(
        "transports.stdio.handshake:_is_private",
        return_fixed(True),
        "tests/transports/stdio/test_handshake.py::test_record_that_others_can_change_is_ignored",
    ),
    "a record of a handshake that is damaged": Removal(
        "transports.stdio.handshake:_digest_record",
        return_fixed(b"0" * 64),
        "tests/transports/stdio/test_handshake.py::test_damaged_record_is_ignored",
    ),
    "placeholders in settings": Removal(
        "config.table:clean_value",
        replace_constant(lambda _, value, **__: value.strip() or None),
        "tests/test_config.py::test_placeholder_that_was_not_replaced_is_never_ignored",
    ),
    "relative folders in settings": Removal(
        "config.settings:to_path",
        replace_constant(lambda _, text: Path(text)),
        "tests/test_config.py::test_path_is_absolute_and_without_variables",
    ),
    "names of others over HTTP": Removal(
        "transports.http.options:_find_exposure",
        replace_constant(lambda _, options: None if options.on_this_machine else "--host"),
        "tests/transports/http/test_options.py::test_exposed_server_needs_client_auth_or_an_explicit_opt_out",
    ),
    "reach over HTTP": Removal(
        "transports.http.options:_check_reach",
        remove_check,
        "tests/transports/http/test_options.py::test_other_machines_are_not_served_without_client_authentication",
    ),
    "token in an offer to reconnect": Removal(
        "server.elicitation:redact_tokens",
        return_argument,
        f"{SERVER}/test_reconnect.py::test_token_is_in_no_offer",
    ),
    "answers for web pages of others": Removal(
        "transports.http.options:GuardRules",
        lambda there: lambda **given: there(**given | {"shared_with": given["origins"]}),
        "tests/transports/http/test_options.py::test_answers_are_shared_with_allowed_origins_alone",
    ),
    "figures under any name": Removal(
        "transports.http.options:GuardRules",
        lambda there: lambda **given: there(**given | {"any_host": given["any_host"] | {"/metrics"}}),
        "tests/transports/http/test_options.py::test_metrics_need_the_key_or_this_machine",
    ),
    "hidden files": Removal(
        "media.paths:_find_problem",
        lambda there: lambda parts: None if {"", ".", ".."}.isdisjoint(parts) else there(parts),
        "tests/media/test_files.py::test_hidden_file_is_not_read",
    ),
    "own time of a file that changed": Removal(
        "media.files:_identify_state",
        replace_constant(lambda found: (found.st_size, found.st_mtime_ns, found.st_nlink)),
        "tests/media/test_files.py::test_change_that_leaves_size_and_time_is_noticed",
    ),
    "cleaning of a fenced text": Removal(
        "text:clean_text",
        return_argument,
        "tests/test_text.py::test_text_in_a_fence_is_cleaned",
    ),
    "retry of a post for now": Removal(
        "tools.posts.prepare:_find_recent",
        return_fixed_async(None),
        f"{TOOLS}/posts/test_answers.py::test_retry_of_a_post_for_now_creates_no_duplicate",
    ),
    "replaced post in a confirmation": Removal(
        "tools.posts.reschedule:require_confirmation",
        remove_binding("post_id"),
        "tests/toolkit/test_confirmation.py::test_confirmation_to_replace_a_post_does_not_cover_an_equal_one",
    ),
    "accounts in a confirmation of a retry": Removal(
        "tools.posts.publish:require_confirmation",
        remove_binding("accounts"),
        f"{TOOLS}/posts/test_publish.py::test_confirmation_of_a_retry_covers_the_accounts_shown",
    ),
    "publish during a reschedule": Removal(
        "tools.posts.publish:_refuse_pending_replacement",
        return_fixed_async(None),
        f"{TOOLS}/posts/test_publish.py::test_post_that_is_being_rescheduled_is_not_published",
    ),
    "late posts of a plan after the answer": Removal(
        "tools.plans.apply:_refuse_late",
        remove_check,
        f"{TOOLS}/plans/test_guards.py::test_plan_is_not_applied_in_part_after_a_slow_confirmation",
    ),
    "posts of a plan that become late": Removal(
        "tools.plans.apply:_is_late",
        return_fixed(False),
        f"{TOOLS}/plans/test_guards.py::test_post_that_becomes_late_during_apply_is_not_sent",
    ),
    "duplicates in a confirmation": Removal(
        "tools.posts.create:require_confirmation",
        remove_binding("allow_duplicate"),
        "tests/toolkit/test_confirmation.py::test_confirmation_of_a_post_does_not_cover_a_duplicate",
    ),
    "server key": Removal(
        "transports.http.auth:ServerKey.matches",
        return_fixed(True),
        f"{HTTP}/test_auth.py::test_caller_without_the_key_gets_401",
    ),
    "API token in Authorization": Removal(
        "transports.http.auth:has_api_token",
        return_fixed(False),
        f"{HTTP}/test_auth.py::test_api_token_in_authorization_is_refused_whether_there_is_a_key_or_not",
    ),
    "key for metrics beside OAuth": Removal(
        "transports.http.auth:ClientAuth._check_client",
        lambda there: lambda self, _, given: there(self, "/mcp", given),
        f"{HTTP}/test_oauth.py::test_metrics_need_the_key_beside_an_issuer",
    ),
    "signatures of access tokens": Removal(
        "transports.http.oauth:jwt.decode",
        lambda there: lambda token, *_, **__: there(token, options={"verify_signature": False}),
        f"{HTTP}/test_oauth.py::test_token_that_the_issuer_did_not_sign_is_refused",
    ),
    "claims of access tokens": Removal(
        "transports.http.oauth:jwt.decode",
        lambda there: (
            lambda token, key, *, algorithms, **_: there(
                token, key, algorithms=algorithms, options={"verify_aud": False}
            )
        ),
        f"{HTTP}/test_oauth.py::test_token_with_other_claims_is_refused",
    ),
    "use of the issuer's keys": Removal(
        "transports.http.jwks:IssuerKeys.find",
        accept_any_use,
        f"{HTTP}/test_oauth.py::test_key_for_another_use_is_not_used",
    ),
    "age of the issuer's keys": Removal(
        "transports.http.jwks:KEEP_SECONDS",
        replace_constant(1e9),
        f"{HTTP}/test_oauth.py::test_withdrawn_key_is_accepted_for_an_hour_at_most",
    ),
    "metadata of the issuer": Removal(
        "transports.http.jwks:is_protected",
        return_fixed(True),
        f"{HTTP}/test_oauth.py::test_unreadable_issuer_accepts_no_token",
    ),
    "certificate of the issuer": Removal(
        "transports.http.jwks:httpx2.AsyncClient",
        set_options(verify=False),
        f"{HTTP}/test_jwks.py::test_issuer_needs_a_valid_certificate",
    ),
    "redirects of the issuer": Removal(
        "transports.http.jwks:httpx2.AsyncClient",
        set_options(follow_redirects=True),
        f"{HTTP}/test_jwks.py::test_redirect_of_an_issuer_is_not_followed",
    ),
    "proxies before the issuer": Removal(
        "transports.http.jwks:httpx2.AsyncClient",
        set_options(trust_env=True),
        f"{HTTP}/test_jwks.py::test_keys_of_a_local_issuer_bypass_proxies",
    ),
    "users with calls in flight": Removal(
        "transports.http.tenants:Tenant.is_busy",
        replace_constant(False),
        f"{HTTP}/test_tenants.py::test_tenant_is_kept_until_its_last_call_ends",
    ),
    "writes of all users are waited for": Removal(
        "transports.http.tenants:Tenants.drain",
        return_fixed_async(True),
        "tests/transports/http/test_tenants.py::test_shutdown_waits_for_the_writes_of_all_tenants",
    ),
    "keyrings that write plain files": Removal(
        "config.system_keyring:_find_backend",
        replace_constant(lambda: importlib.import_module("keyring").get_keyring()),
        "tests/cli/test_login.py::test_keyring_that_writes_plain_files_is_not_used",
    ),
    "link in place of a login": Removal(
        "config.files:_PLAIN_FILE",
        replace_constant(getattr(os, "O_NONBLOCK", 0)),
        "tests/cli/test_login.py::test_link_that_takes_the_place_of_a_login_while_it_is_read_is_not_followed",
    ),
    "time of a request that trickles": Removal(
        "transports.http.timeouts:TimedProtocol._update_timeout",
        lambda there: lambda self: (self._stop_timeout(), there(self)),
        f"{HTTP}/test_run.py::test_request_that_arrives_byte_by_byte_times_out",
    ),
    "time of a body behind another request": Removal(
        "transports.http.timeouts:TimedProtocol.on_response_complete",
        lambda _: H11Protocol.on_response_complete,
        f"{HTTP}/test_timeouts.py::test_connection_is_closed_once_a_part_is_late",
    ),
    "streams of a session, from its tools": Removal(
        "transports.stdio.transport:redirect_fd",
        remove_check,
        "tests/transports/stdio/test_stdio.py::test_tools_reach_neither_the_input_nor_the_output_of_the_session",
    ),
    "metadata too large to search": Removal(
        "media.scan:Scan.leave_out",
        lambda there: lambda self, start, stop, found, *rest: there(self, start, stop, found - {UNREADABLE}, *rest),
        "tests/media/test_pictures.py::test_metadata_of_a_png_that_is_too_large_to_search_is_left_out",
    ),
    "connections of one of several users": Removal(
        "transports.http.app:TENANT_CONNECTIONS",
        replace_constant(16),
        f"{HTTP}/test_app.py::test_one_of_several_users_has_half_of_the_connections",
    ),
    "codes of confirmations over HTTP": Removal(
        "transports.http.app:TtpServer",
        set_options(with_confirmation=False),
        f"{HTTP}/test_app.py::test_confirmation_that_the_operator_requires_is_a_code_that_works_once",
    ),
    "one write for each post over HTTP": Removal(
        "transports.http.metrics:CountedLedger.finish",
        lambda there: lambda self, write, outcome, post=None, **_: there(self, write, outcome, post),
        f"{HTTP}/test_health_and_metrics.py::test_ledger_that_counts_records_what_the_ledger_does",
    ),
    "token among arguments": Removal(
        "credentials:has_token",
        return_fixed(False),
        "tests/cli/test_main.py::test_token_on_the_command_line_is_refused_and_not_repeated",
    ),
    "no token in a URL": Removal(
        "transports.http.guard:_check_query",
        remove_check,
        "tests/transports/http/test_guard.py::test_token_in_a_url_is_refused",
    ),
}

ROW = "tests/acceptance"
# Guard: the test that removes it and sees the row go red.
PROVEN: dict[str, str] = {
    "redaction, under fuzzed calls": f"{ROW}/test_fuzz.py::test_a1_fails_when_answers_are_not_redacted",
    "no mistake, under fuzzed calls": f"{ROW}/test_fuzz.py::test_a1_fails_when_a_tool_raises",
    "cap on a stdio line": f"{ROW}/test_wire.py::test_a3_fails_without_the_line_cap",
    "cap on an HTTP body": f"{ROW}/test_http.py::test_a3_fails_without_the_body_limit",
    "fences, bars, cleaning, quotations": f"{ROW}/test_injection.py::test_a5_fails_without_each_guard",
    "quotations in refusals": (f"{ROW}/test_injection.py::test_a5_fails_when_a_refusal_can_close_its_quotation"),
    "cleaning until nothing changes": f"{ROW}/test_injection.py::test_a5_fails_when_cleaning_stops_after_one_pass",
    "joiners of Persian and Hindi": f"{ROW}/test_injection.py::test_a5_fails_when_every_joiner_is_removed",
    "paths, links, types, folders, file URLs": f"{ROW}/test_paths.py::test_a6_fails_without_each_guard",
    "no links, in a race": f"{ROW}/test_paths.py::test_a6_race_fails_when_links_are_followed",
    "upload addresses: form, public, pinned": f"{ROW}/test_hosts.py::test_a7_fails_without_each_guard",
    "no redirects": f"{ROW}/test_hosts.py::test_a7_fails_when_redirects_are_followed",
    "token for the own host, no proxy": f"{ROW}/test_hosts.py::test_a8_fails_without_each_guard",
    "redaction of logs, anywhere": f"{ROW}/test_leaks.py::test_a9_fails_when_logs_are_not_redacted",
    "redaction of answers, anywhere": f"{ROW}/test_leaks.py::test_a9_fails_when_answers_are_not_redacted",
    "redaction of keys": f"{ROW}/test_leaks.py::test_a9_fails_when_keys_are_not_redacted",
    "failures are masked": f"{ROW}/test_leaks.py::test_a9_fails_when_failures_are_not_masked",
    "holder of the token": f"{ROW}/test_leaks.py::test_a9_fails_when_the_holder_is_an_ordinary_class",
    "hooks of a crash": f"{ROW}/test_leaks.py::test_a9_fails_when_python_prints_the_crash",
    "Host and Origin": f"{ROW}/test_http.py::test_a10_fails_without_the_guard",
    "users apart over HTTP": f"{ROW}/test_http.py::test_a11_fails_when_users_share_a_context",
    "confirmations: once, bound, short, unforged": (f"{ROW}/test_confirmation.py::test_a12_fails_without_each_guard"),
    "total deadline": f"{ROW}/test_faults.py::test_b1_fails_without_the_total_deadline",
    "ambiguity of a sent write": f"{ROW}/test_faults.py::test_b1_fails_when_a_sent_write_counts_as_not_sent",
    "writes are sent once": f"{ROW}/test_faults.py::test_b1_fails_when_the_table_allows_retrying_writes",
    "size of answers": f"{ROW}/test_faults.py::test_b1_fails_without_the_body_limit",
    "no second create after a lost answer": (
        f"{ROW}/test_lost_responses.py::test_b2_fails_when_a_lost_create_is_sent_again"
    ),
    "search for a lost answer": f"{ROW}/test_lost_responses.py::test_b2_fails_without_the_search",
    "posts of before": f"{ROW}/test_lost_responses.py::test_b2_fails_when_dates_are_not_compared",
    "reservation in the ledger": f"{ROW}/test_lost_responses.py::test_b2_fails_without_the_reservation",
    "no second publish after a lost answer": (
        f"{ROW}/test_lost_publishes.py::test_b13_fails_when_a_lost_publish_is_sent_again"
    ),
    "record of publishes": f"{ROW}/test_lost_publishes.py::test_b13_fails_without_the_ledger",
    "search for a lost publish": f"{ROW}/test_lost_publishes.py::test_b13_fails_without_the_search",
    "status of a post as proof": f"{ROW}/test_lost_publishes.py::test_b13_fails_when_any_status_counts_as_published",
    "hold after 429": f"{ROW}/test_network.py::test_b3_fails_without_the_hold",
    "one goes first": f"{ROW}/test_network.py::test_b3_fails_without_the_probe",
    "budget of repeats": f"{ROW}/test_network.py::test_b4_fails_without_the_retry_budget",
    "deadline of a drip": f"{ROW}/test_network.py::test_b5_fails_without_the_deadline",
    "size of a list": f"{ROW}/test_network.py::test_b6_fails_without_the_limit",
    "uploads in pieces": f"{ROW}/test_uploads.py::test_b7_fails_when_the_file_is_read_whole",
    "file that changes": f"{ROW}/test_uploads.py::test_b8_fails_when_file_changes_are_not_detected",
    "answers of the storage": f"{ROW}/test_uploads.py::test_b8_fails_when_any_status_counts_as_success",
    "writes outlive their caller": f"{ROW}/test_cancel.py::test_b9_fails_when_a_write_ends_with_its_caller",
    "reads end with their caller": f"{ROW}/test_cancel.py::test_b9_fails_when_a_read_outlives_its_caller",
    "drain at the end": f"{ROW}/test_shutdown.py::test_b10_fails_without_the_drain",
    "log that never waits": f"{ROW}/test_shutdown.py::test_b11_fails_with_a_blocking_log_handler",
    "gaps and folds": f"{ROW}/test_times.py::test_b12_fails_when_the_first_reading_is_taken",
    "clock of the API": f"{ROW}/test_times.py::test_b12_fails_without_the_clock_of_the_api",
    "effect and status at once": f"{ROW}/test_kill.py::test_c1_fails_when_effect_and_status_take_two_transactions",
    "a post in one transaction": f"{ROW}/test_disk.py::test_c2_fails_when_a_post_takes_two_transactions",
    "no second write, over histories": f"{ROW}/test_history.py::test_c4_fails_when_lost_writes_are_sent_again",
    "accounts that an earlier post is not for": (
        f"{ROW}/test_account_bookkeeping.py::test_c5_fails_when_accounts_without_a_post_are_not_reported"
    ),
    "no rest on somebody's equal post": (
        f"{ROW}/test_account_bookkeeping.py::test_c5_fails_when_a_reschedule_accepts_any_equal_post"
    ),
    "replaced post is no duplicate": (
        f"{ROW}/test_account_bookkeeping.py::test_c5_fails_when_the_replaced_post_counts_as_a_duplicate"
    ),
    "reservations, over histories": f"{WRITES}/test_history.py::test_history_without_reservations_breaks_them",
}

# What an ill-made replacement would raise; a guard's test has to fail for its own reason.
CLUMSY = ("TypeError", "AttributeError", "NameError", "ImportError")


def replace_guard(patch: pytest.MonkeyPatch, place: str, instead: Callable[[Any], Any]) -> None:
    """Replace a guard."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(f"ttp_mcp.{module}")
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    patch.setattr(owner, name, instead(getattr(owner, name)))


class Remover:
    """Plugin that removes a test's guard around it, and records which tests failed and why."""

    def __init__(self, guards: list[str], report: Path) -> None:
        self._guards = guards
        self._report = report
        self._seen: dict[str, list[list[str]]] = {guard: [] for guard in guards}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None]:
        """Run one test, with its fixtures, without its guard."""
        with pytest.MonkeyPatch.context() as patch:
            for guard in self._guards_of(item.nodeid):
                replace_guard(patch, REMOVED[guard].place, REMOVED[guard].instead)
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None]:
        """Note the outcome of a test."""
        yield
        if call.excinfo is not None:
            for guard in self._guards_of(item.nodeid):
                self._seen[guard] += [
                    [item.nodeid, type(error).__name__, str(error)[:300]]
                    for error in _flatten_group(call.excinfo.value)
                ]

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        self._report.write_text(json.dumps(self._seen), encoding="utf-8")

    def _guards_of(self, node: str) -> list[str]:
        return [guard for guard in self._guards if node.partition("[")[0].startswith(REMOVED[guard].test)]


def _flatten_group(error: BaseException) -> list[BaseException]:
    """Return the exceptions of a group at any depth. Errors while a client is open arrive in a group."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _flatten_group(inner)]
    return [error]


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin. `TTP_REMOVED` names the guards, `TTP_REMOVED_REPORT` the file for the results."""
    if "TTP_REMOVED" in os.environ:
        config.pluginmanager.register(
            Remover(json.loads(os.environ["TTP_REMOVED"]), Path(os.environ["TTP_REMOVED_REPORT"]))
        )
