"""Groups of connections to the API."""

from contextlib import ExitStack

import httpx2
import pytest

from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.pools import GROUP, Pools
from ttp_mcp.credentials import Token

pytestmark = pytest.mark.requirement("api.pools")


async def test_few_requests_share_one_client_and_many_get_further_ones():
    pools = Pools(httpx2.AsyncClient)
    with ExitStack() as held:
        first = [held.enter_context(pools.take()) for _ in range(GROUP)]
        further = held.enter_context(pools.take())
    with pools.take() as later:
        pass
    await pools.aclose()
    assert len(set(first)) == 1
    assert further is not first[0]
    assert later is first[0]
    assert first[0].is_closed
    assert further.is_closed


async def test_after_the_end_a_request_makes_a_new_client():
    pools = Pools(httpx2.AsyncClient)
    with pools.take() as before:
        pass
    await pools.aclose()
    with pools.take() as after:
        assert after is not before
    await pools.aclose()


async def test_all_groups_share_one_tls_context_that_checks_certificates():
    api = ApiClient(base_url="https://api.example", token=Token("ttp_" + "0" * 48))
    http = api._http
    one, two = http._new_client(), http._new_client()
    context = http._tls()
    assert http._tls() is context
    assert context.check_hostname
    await one.aclose()
    await two.aclose()
    await api.aclose()
