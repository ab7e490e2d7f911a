"""The two clients under one set of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import runware as official_sdk
from runware import client, content, validate

from runware_jobs import client as our_client

if TYPE_CHECKING:
    from collections.abc import Callable

# Short pauses for both: what is compared is what is repeated, not how long it takes.
_SHARED = {"api_key": "differential", "max_retries": 2, "retry_delay": 10}


@dataclass(frozen=True, slots=True)
class Kit:
    """One client: its name, how to open it at an address, and its classes."""

    name: str
    open: Callable[..., Any]
    error: type[Exception]
    run_options: Callable[..., Any]
    stream_options: Callable[..., Any]
    invoke_options: Callable[..., Any]
    clear_validator_cache: Callable[[], object]


def _addresses(address: str) -> dict[str, str]:
    return {
        "http_base_url": f"{address}/v1",
        "ws_base_url": f"{address.replace('http', 'ws', 1)}/v1",
        "serverless_base_url": f"{address}/serverless",
    }


def _open_official(address: str, **options: Any) -> Any:
    # The one thing of theirs that is set from outside: these two addresses are constants there.
    for module in (client, validate):
        module.SCHEMAS_BASE_URL = f"{address}/schemas"
    content.CONTENT_BASE_URL = f"{address}/content"
    return official_sdk.Runware(**_SHARED | _addresses(address) | options)


def _open_ours(address: str, **options: Any) -> Any:
    services = {"schemas_base_url": f"{address}/schemas", "content_base_url": f"{address}/content"}
    return our_client.Runware(**_SHARED | _addresses(address) | services | options)


OFFICIAL = Kit(
    name="official",
    open=_open_official,
    error=official_sdk.RunwareError,
    run_options=official_sdk.RunOptions,
    stream_options=official_sdk.StreamOptions,
    invoke_options=official_sdk.InvokeOptions,
    clear_validator_cache=official_sdk.clear_validator_cache,
)
OURS = Kit(
    name="ours",
    open=_open_ours,
    error=our_client.RunwareError,
    run_options=our_client.RunOptions,
    stream_options=our_client.StreamOptions,
    invoke_options=our_client.InvokeOptions,
    clear_validator_cache=our_client.clear_validator_cache,
)
