"""The account's standing: a refusal is looked into before it pauses, and a pause ends by itself.

Submit, poll and settle note what speaks of the account itself (`doubts`); one duty of
the clock (`look_after_account`) asks the platform, with questions that cost nothing and
change nothing, and pauses only what it confirms. Nothing is claimed while a doubt is
open. Whether a paused account may go on is asked by one process at a time.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, assert_never
from uuid import uuid4

import structlog

from runware_jobs.client import Missing, NoAnswer, Polled, RunwareError
from runware_jobs.client.account_errors import KeyVerdict, key_verdict
from runware_jobs.core.standing import Lift, Standing, confirmed, lifted
from runware_jobs.store import pauses

if TYPE_CHECKING:
    from runware_jobs.core.standing import Doubt

    from .context import Context

_log = structlog.get_logger()
# Less than `pauses.PROBE_HELD_S`: who has taken the turn has answered, or given up, by then.
_ASK_WITHIN_S: Final = 8.0


async def look_after_account(context: Context) -> bool:
    """Look into a doubt, and whether a pause may end; True when sending may go on at once."""
    doubt = context.doubts.take()
    if doubt is not None:
        await _look_into(context, doubt)
    async with context.engine.begin() as connection:
        kind = await pauses.take_probe(connection, context.owner.account_id)
    if kind is None:
        return False
    lift = lifted(kind, await _ask_standing(context))
    _log.info("account_probed", account_id=context.owner.account_id, pause=kind, lift=lift)
    if lift is Lift.STAY:
        return False
    async with context.engine.begin() as connection:
        resumed = await pauses.resume_from(connection, context.owner.account_id, kind, tries=lift is Lift.TRY)
    if resumed:
        _log.warning(
            "account_resumed", account_id=context.owner.account_id, pause=kind, tries=lift is Lift.TRY
        )
    return resumed


async def _look_into(context: Context, doubt: Doubt) -> None:
    account_id = context.owner.account_id
    was_confirmed = False
    try:
        async with context.engine.connect() as connection:
            is_open = await pauses.is_open(connection, account_id)
        if not is_open:
            was_confirmed = True  # by somebody else, or a person: it is stopped as it is
            return
        kind = confirmed(doubt, await _ask_standing(context))
        if kind is None:
            _log.warning("account_refused_unconfirmed", account_id=account_id, reason=doubt.message[:200])
            return
        async with context.engine.begin() as connection:
            if await pauses.pause_for(connection, account_id, kind, reason=doubt.message):
                _log.error("account_paused", account_id=account_id, kind=kind, reason=doubt.message[:200])
        was_confirmed = True
    finally:
        context.doubts.close(was_confirmed=was_confirmed)


async def _ask_standing(context: Context) -> Standing:
    """Ask who we are and what is left; a key that may not ask is tried on a harmless question."""
    try:
        async with asyncio.timeout(_ASK_WITHIN_S):
            await context.pace.turn()
            try:
                details = await context.client.account_management({"operation": "getDetails"})
            except RunwareError as error:
                match key_verdict(error):
                    case KeyVerdict.UNKNOWN:
                        return Standing(key_accepted=None)
                    case KeyVerdict.REFUSED:
                        return Standing(key_accepted=False)
                    case KeyVerdict.MUTE:
                        return await _ask_about_nothing(context)
    except TimeoutError:
        return Standing(key_accepted=None)
    return Standing(key_accepted=True, balance_usd=_balance(details))


async def _ask_about_nothing(context: Context) -> Standing:
    """Poll a task that nobody has: whoever says that it is unknown has accepted the key."""
    await context.pace.turn()
    [outcome] = (await context.client.poll_many([str(uuid4())])).values()
    match outcome:
        case Polled() | Missing():
            return Standing(key_accepted=True)
        case NoAnswer(error=error):
            return Standing(key_accepted=False if error.code == "auth" else None)
        case _:
            assert_never(outcome)


def _balance(details: Any) -> Decimal | None:
    entry = details[0] if isinstance(details, list) and details else details
    balance = entry.get("balance") if isinstance(entry, dict) else None
    if not isinstance(balance, dict):
        return None
    amounts = [balance.get(name) for name in ("amount", "freeBalance")]
    known = [
        Decimal(str(one)) for one in amounts if isinstance(one, int | float) and not isinstance(one, bool)
    ]
    return sum(known[1:], known[0]) if known else None
