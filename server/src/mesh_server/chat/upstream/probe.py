"""Looks whether a provider answers, for `mesh-server doctor`: sends no prompt and spends nothing."""

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from mesh_server.chat.models import Provider, Target
from mesh_server.chat.upstream import anthropic, openai
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.pool import Pool


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of it.

    Attributes:
        status: HTTP status of its list of models; None if it could not be reached.
        clock_skew_s: seconds by which its clock is ahead of ours; None where it does not say.
    """

    status: int | None
    clock_skew_s: float | None


async def probe(provider: Provider) -> Probe:
    """Ask a provider for its list of models, with the server's own key where there is one."""
    pool = Pool(whole_s=10.0)
    target = Target(provider=provider.name, base_url=provider.base_url, model="", api_key=None, key_name=None)
    if provider.kind == "anthropic":
        url = anthropic.models_path(target)
        headers = anthropic.headers(provider.api_key, anthropic.NEWEST if provider.official else anthropic.OLDEST)
    else:
        url, headers = openai.models_path(target), openai.headers(provider.api_key)
    try:
        answer = await pool.request("GET", url, headers=headers)
        await answer.close()
        return Probe(answer.status, _skew(answer.header("date")))
    except UpstreamFailure:
        return Probe(None, None)
    finally:
        await pool.close()


def _skew(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None
