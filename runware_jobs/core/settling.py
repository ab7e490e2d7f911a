"""How doubt ends: what is done about a task that polls do not know, and how long that may last.

Pure. `after_doubt` decides one round of a settlement (DESIGN 4). Every number is generous: what is given up here may have been billed, and only a
person can say what becomes of it then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from .answers import CostPer
from .decisions import after_answer, after_forgotten_upload, after_loss, may_be_old, noted
from .moves import Move
from .states import AttemptState, Lane
from .task_types import ANSWERED_AT_ONCE

if TYPE_CHECKING:
    from .answers import Answer, Classify
    from .moves import LiveAttempt

_LOST_FACTOR: Final[dict[Lane, float]] = {
    # Of LOST_AFTER_S. A render of minutes waits longer in the platform's queue than a
    # picture does; a training takes hours, and is too dear to be given up within a day.
    Lane.IMAGE: 1,
    Lane.VIDEO: 2,
    Lane.AUDIO: 1,
    Lane.TEXT: 1,
    Lane.THREE_D: 2,
    Lane.TRAINING: 24,
    Lane.UPLOAD: 1,
}
_STUCK_FACTOR: Final[dict[Lane, float]] = {
    # Of STUCK_AFTER_S. The platform says that it works, and may be right: days, not hours.
    Lane.IMAGE: 1,
    Lane.VIDEO: 2,
    Lane.AUDIO: 1,
    Lane.TEXT: 1,
    Lane.THREE_D: 2,
    Lane.TRAINING: 7,
    Lane.UPLOAD: 2,
}
# Of the time within which 19 of 20 tasks of this model and size have ended.
_LOST_LATE: Final = 3
_STUCK_LATE: Final = 20
# Of a silence that this process has heard itself, beside others that were answered: what
# was written down before may have been another one, with an outage of everybody between.
_SURE_S: Final = 600.0
# A harmless question tells an outage from a request that one task spoils.
_PROBE_FLOOR_S: Final = 1.0
_PROBE_CAP_S: Final = 300.0
# Down to one task of a hundred it takes seven questions. When none of them is answered,
# all are to blame or none is; and no group keeps the turns of the others for long.
_QUESTIONS_IN_VAIN: Final = 8
_QUESTIONS_AT_ONCE: Final = 32
# An upload that stays unclear is sent again, ever less often.
_UPLOAD_AGAIN_S: Final = 10.0
_SILENT: Final = "The platform has refused for too long to be asked about this task; it may have been billed."
_LOST: Final = "The platform does not know this task any more; it may have been billed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What the settings say of doubt, in seconds."""

    lost_after_s: float
    stuck_after_s: float
    resend_after_s: float
    resend_within_s: float
    resends: bool


class Resend(StrEnum):
    """Whether an unclear task may be sent under its own UUID now."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"


def after_doubt(
    live: LiveAttempt,
    archived: Answer | None,
    patience: Patience,
    *,
    account_is_open: bool,
    late_s: float | None,
    classify: Classify,
    random: float,
    was_refused: bool = False,
    refused_here_s: float = math.inf,
    cost_per: CostPer = CostPer.ITEM,
) -> Move:
    """Decide about a task that `getResponse` has just not known, with what the archive said.

    `was_refused`: the platform would not be asked about it, for `refused_here_s` as this
    process has heard it, which says nothing; only what the archive has counts then.
    `archived` None: it did not answer, which says nothing. A move that marks the task as
    resent is a promise to send it then, before the window of the send has passed.
    """
    # Refused now and unknown before, it stays unknown since then: in turns, neither would come to its end.
    is_noted = was_refused and live.unknown_s is not None
    unknown = () if is_noted else noted(live, "getResponse", "refused" if was_refused else "unknown")
    # What it kept of an earlier send that was turned away says of this one that it has nothing.
    is_old = archived is not None and may_be_old(live, archived, "archive")
    if archived is not None and (archived.says_nothing or is_old):
        unknown = (*unknown, *noted(live, "archive", "an old refusal" if is_old else "unknown"))
        if is_forgotten_upload(live) and not was_refused:
            return replace(after_forgotten_upload(live, random=random), settlement=unknown)
        resend = may_resend(live, patience, account_is_open=account_is_open)
        if resend is not Resend.NEVER and not was_refused:
            return Move(live=live, settlement=unknown, resent=True if resend is Resend.NOW else None)
    elif archived is not None:
        move = after_answer(
            live, archived, classify=classify, random=random, told_by="archive", cost_per=cost_per
        )
        if not move.changes_nothing:
            return replace(move, settlement=(*unknown, *move.settlement))
    if was_refused:
        stuck_s = stuck_after_s(live.lane, patience, late_s)
        refused_s = live.refused_s or live.unknown_s or 0.0
        is_over = refused_s >= stuck_s and refused_here_s >= min(stuck_s, _SURE_S)
        return (
            replace(after_loss(live, _SILENT, code="timeout"), settlement=unknown)
            if is_over
            else (Move(live=live, settlement=unknown))
        )
    if unknown_for_s(live) >= _give_up_s(live, archived, patience, late_s):
        return replace(after_loss(live, _LOST), settlement=unknown)
    return Move(live=live, settlement=unknown)


def _give_up_s(live: LiveAttempt, archived: Answer | None, patience: Patience, late_s: float | None) -> float:
    if archived is None:
        # Half of the question had no answer; but an archive that never gives one, to
        # this key perhaps, must not keep the task for ever.
        return stuck_after_s(live.lane, patience, late_s)
    return lost_after_s(live.lane, patience, late_s)


def lost_after_s(lane: Lane, patience: Patience, late_s: float | None) -> float:
    """Say for how long a task of this lane may be unknown everywhere before it counts as lost.

    `late_s` is what was learned of its model and size (None: nothing).
    """
    return max(patience.lost_after_s * _LOST_FACTOR[lane], _LOST_LATE * (late_s or 0.0))


def stuck_after_s(lane: Lane, patience: Patience, late_s: float | None) -> float:
    """Say for how long a task of this lane is followed while the platform says that it goes on."""
    return max(patience.stuck_after_s * _STUCK_FACTOR[lane], _STUCK_LATE * (late_s or 0.0))


def unknown_for_s(live: LiveAttempt) -> float:
    """Say for how long the platform has not known a task; a resend begins it anew."""
    unknown_s = live.unknown_s or 0.0
    return unknown_s if live.resent_s is None else min(unknown_s, live.resent_s)


def may_resend(live: LiveAttempt, patience: Patience, *, account_is_open: bool) -> Resend:
    """Decide about one more send of a task that the platform and its archive do not know.

    Once only: a second one would need the archive to say what became of the first, and
    a rejected duplicate overwrites it. An upload costs nothing and gives the same media,
    so it is sent until something comes back.
    """
    is_wanted = live.carries_job and not live.is_late and live.state is AttemptState.UNCLEAR
    if not is_wanted or not patience.resends or live.age_s >= patience.resend_within_s:
        return Resend.NEVER
    if live.age_s < patience.resend_after_s:
        # What was sent may still be on its way, behind a proxy that has lost its caller. Asking
        # costs nothing; sending beside it would, where only running tasks are told apart.
        return Resend.LATER
    if live.was_resent:
        if live.lane is not Lane.UPLOAD:
            return Resend.NEVER
        resends = sum(1 for step in live.steps if step["step"] == "resend")
        if (live.resent_s or 0.0) < _UPLOAD_AGAIN_S * 2.0 ** min(resends, 8):
            return Resend.LATER
    # A pause is no reason to give up what may be sent when it ends.
    return Resend.NOW if account_is_open else Resend.LATER


def is_forgotten_upload(live: LiveAttempt) -> bool:
    """Tell whether an upload arrived and its answer cannot be had any more: it may be made anew, for free."""
    return live.state is AttemptState.ACCEPTED and live.task_type in ANSWERED_AT_ONCE


def next_doubt_s(unknown_s: float, *, minimum_s: float) -> float:
    """Wait this long before the archive is asked again about a task unknown for `unknown_s`.

    It has no grouped form: each question is a request of its own.
    """
    return min(max(minimum_s, 0.25 * unknown_s), 300.0)


def next_probe_s(in_vain: int) -> float:
    """Wait this long before asking again whether the platform answers anybody; `in_vain` times it taught nothing."""
    return min(_PROBE_FLOOR_S * 2.0 ** min(in_vain, 20), _PROBE_CAP_S)


def divides_on(questions: int, *, answered: int) -> bool:
    """Decide whether a group that is spoilt is asked about in smaller parts still.

    `questions` were asked for that, of which `answered` were.
    """
    return questions < (_QUESTIONS_AT_ONCE if answered else _QUESTIONS_IN_VAIN)
