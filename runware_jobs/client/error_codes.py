"""Turn the platform's raw error identifiers into twelve stable codes.

Pure: a raw identifier and perhaps an HTTP status in, one code out. The platform's
catalogue holds hundreds of identifiers and changes (PROTOCOL 8); callers switch on
these twelve only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ErrorCode(StrEnum):
    """The stable codes. They compare equal to their plain strings."""

    VALIDATION = "validation"
    AUTH = "auth"
    QUOTA = "quota"
    RATE_LIMIT = "rateLimit"
    SAFETY = "safety"
    PROVIDER = "provider"
    TIMEOUT = "timeout"
    NOT_FOUND = "notFound"
    SERVER_ERROR = "serverError"
    CONNECTION = "connection"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


RETRYABLE = frozenset(
    {
        ErrorCode.CONNECTION,
        ErrorCode.RATE_LIMIT,
        ErrorCode.TIMEOUT,
        ErrorCode.SERVER_ERROR,
        ErrorCode.PROVIDER,
    }
)

# The platform says of these tasks that they are over, so a new task may well do better; their code, which covers
# things that will never be found, would say no.
_RETRYABLE_RAW_CODES = frozenset({"taskCancelled", "taskFailedOrNotFound"})

CONFLICT_RAW_CODE = "conflictTaskUUID"

# Raw identifiers of the client itself, so that nothing here is ever "unknown" to its own table.
CONNECTION_FAILED = "connectionFailed"
CONNECTION_LOST = "connectionLost"
NOT_CONNECTED = "notConnected"
REQUEST_TIMEOUT = "requestTimeout"
UNREADABLE_ANSWER = "unrecognizedResponse"
SILENT_ANSWER = "silentAnswer"
SEND_WINDOW_PASSED = "sendWindowPassed"
ANSWER_TOO_LARGE = "answerTooLarge"
ABORTED = "aborted"
AUTH_TIMEOUT = "authTimeout"
DISCONNECTED = "disconnected"
RECONNECTION_FAILED = "reconnectionFailed"

_EXACT: dict[str, ErrorCode] = {
    raw: code
    for code, raws in {
        ErrorCode.ABORTED: (ABORTED,),
        ErrorCode.CONNECTION: (
            CONNECTION_FAILED,
            CONNECTION_LOST,
            NOT_CONNECTED,
            SEND_WINDOW_PASSED,
            DISCONNECTED,
            "notOpen",
            RECONNECTION_FAILED,
            "sendFailed",
        ),
        ErrorCode.QUOTA: ("environmentPaused", "paymentRequired", "quotaExceeded"),
        ErrorCode.RATE_LIMIT: ("inferenceRateLimitRequestTooLarge", "rateLimit", "tooManyRequests"),
        ErrorCode.SAFETY: (
            "contentPolicyViolation",
            "imageBlocked",
            "invalidProviderContent",
            "moderationFailed",
            "nsfwContentDetected",
            "promptBlocked",
            "providerContentPolicyViolation",
            "sensitiveContentDetected",
            "unsafeContentDetected",
        ),
        ErrorCode.AUTH: (
            "accountDisabled",
            "accountSuspended",
            "authFailed",
            "authenticationFailed",
            "forbidden",
            "insufficientPermissions",
            "invalidAuthentication",
            "invalidCredentials",
            "missingAuthentication",
            "organizationDisabled",
            "organizationSuspended",
            "permissionDenied",
            "tokenExpired",
            "tokenInvalid",
            "tokenMissing",
            "tokenRevoked",
            "unauthorized",
            "workspaceDisabled",
            "workspaceSuspended",
        ),
        ErrorCode.NOT_FOUND: ("taskCancelled", "taskFailedOrNotFound", "unknownModel"),
        ErrorCode.SERVER_ERROR: (
            "defaultError",
            "errorRetrievingAccountManagement",
            "internalServerError",
            "parseError",
            "serverError",
            "serverUnavailable",
            "serviceUnavailable",
            "standardError",
            "undefinedError",
            "unknownError",
            ANSWER_TOO_LARGE,
            SILENT_ANSWER,
            UNREADABLE_ANSWER,
        ),
        ErrorCode.PROVIDER: (
            "downloadFailed",
            "inferenceError",
            "mediaStorageFileCouldNotBeMoved",
            "modelDisabled",
            "modelNotReady",
            "modelUnavailable",
            "noAvailableServer",
            "processingFailed",
            "taskFailed",
            "uploadFailed",
        ),
        ErrorCode.VALIDATION: (
            "incompatibleParameters",
            "mismatchProviderSettingsProvider",
            "modelAlreadyExists",
            "modelOwnershipValidationError",
            "transparentModelMismatch",
            "unknownParameter",
            "unknownProviderSettingsProvider",
            "validationFailed",
        ),
    }.items()
    for raw in raws
}

_VALIDATION_PREFIXES = (
    "invalid",
    "missing",
    "conflict",
    "duplicate",
    "unsupported",
    "value",
    "array",
    "max",
)

_BY_STATUS: dict[int, ErrorCode] = {
    400: ErrorCode.VALIDATION,
    401: ErrorCode.AUTH,
    402: ErrorCode.QUOTA,
    403: ErrorCode.AUTH,
    404: ErrorCode.NOT_FOUND,
    408: ErrorCode.TIMEOUT,
    409: ErrorCode.VALIDATION,
    413: ErrorCode.VALIDATION,
    422: ErrorCode.VALIDATION,
    429: ErrorCode.RATE_LIMIT,
    504: ErrorCode.TIMEOUT,
}


def derive_code(raw_code: str, status_code: int | None = None) -> ErrorCode:
    """Name the stable code of a raw identifier; the status speaks only where the identifier says nothing."""
    by_name = _by_name(raw_code)
    if by_name is not None:
        return by_name
    if status_code is None:
        return ErrorCode.UNKNOWN
    by_status = _BY_STATUS.get(status_code)
    if by_status is not None:
        return by_status
    return ErrorCode.SERVER_ERROR if 500 <= status_code <= 599 else ErrorCode.UNKNOWN  # noqa: PLR2004 - HTTP's own ranges


def is_retryable(raw_code: str, code: ErrorCode) -> bool:
    """Say whether another try has a chance; whether it is a free one only the task's own end can tell."""
    return code in RETRYABLE or raw_code in _RETRYABLE_RAW_CODES


def _by_name(raw: str) -> ErrorCode | None:
    if raw in _EXACT:
        return _EXACT[raw]
    return next((code for is_meant, code in _PATTERNS if is_meant(raw)), None)


def _contains(*words: str) -> Callable[[str], bool]:
    return lambda raw: any(word in raw.lower() for word in words)


# The first hit wins, in the platform's own order: credits before provider, provider before validation.
# Words are matched case-blind on purpose: the docs' own example is `timeoutProvider`. `authTimeout` is a timeout
# too, since a slow handshake is no verdict on the key.
_PATTERNS: tuple[tuple[Callable[[str], bool], ErrorCode], ...] = (
    (_contains("credits", "quota", "balance"), ErrorCode.QUOTA),
    (_contains("ratelimit"), ErrorCode.RATE_LIMIT),
    (_contains("timeout"), ErrorCode.TIMEOUT),
    (_contains("apikey"), ErrorCode.AUTH),
    (lambda raw: raw.endswith(("NotFound", "Expired")), ErrorCode.NOT_FOUND),
    (lambda raw: raw.startswith("provider"), ErrorCode.PROVIDER),
    (lambda raw: raw.startswith(_VALIDATION_PREFIXES) or "conflict" in raw.lower(), ErrorCode.VALIDATION),
)


def is_own_credits(raw_code: str, code: str, status_code: int | None) -> bool:
    """Say whether the account's own balance is meant, not a provider's.

    `quotaExceeded` and `environmentPaused` speak of a limit of one product and not of the balance.
    """
    if code != ErrorCode.QUOTA:
        return False
    if raw_code.startswith(("provider", "thirdParty", "textInferenceVideoInput")):
        return False
    return raw_code not in {"quotaExceeded", "environmentPaused"} or status_code == 402  # noqa: PLR2004 - Payment Required
