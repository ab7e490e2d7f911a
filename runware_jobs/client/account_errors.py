"""What an error says of the account behind the key: for callers that stop sending when it is the account's.

Pure. One refusal proves little: a caller with much to send asks a question that costs nothing
(`accountManagement`), and reads the answer's error here.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from .error_codes import ErrorCode
from .errors import raw_code_of
from .wire.verdicts import is_account_error

if TYPE_CHECKING:
    from .errors import RunwareError

# A key that may do something, only not this (PROTOCOL 1.5: 403, where 401 is no valid key).
_NOT_PERMITTED = frozenset({"forbidden", "permissionDenied", "insufficientPermissions"})


class KeyVerdict(StrEnum):
    """What an error that answered a question says of the key."""

    REFUSED = "refused"
    MUTE = "mute"  # it was not refused, and may not ask this
    UNKNOWN = "unknown"  # nothing: the line, or the platform's own trouble


def speaks_of_account(error: RunwareError) -> bool:
    """Say whether an error means the account itself: its key (HTTP 401, an auth error without a task) or its credits."""
    return is_account_error(error)


def key_verdict(error: RunwareError) -> KeyVerdict:
    """Read what the error of a question about the account says of the key that asked."""
    raw_code = raw_code_of(error)
    if error.code is ErrorCode.AUTH:
        is_named = raw_code in _NOT_PERMITTED or (not raw_code and error.status_code == HTTPStatus.FORBIDDEN)
        if is_named and error.status_code != HTTPStatus.UNAUTHORIZED:
            return KeyVerdict.MUTE
        return KeyVerdict.REFUSED
    # The operation is unknown to this key or platform, or there are no credits even to ask with.
    is_mute = error.code in {ErrorCode.VALIDATION, ErrorCode.NOT_FOUND, ErrorCode.QUOTA}
    return KeyVerdict.MUTE if is_mute else KeyVerdict.UNKNOWN
