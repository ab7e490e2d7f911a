"""The Runware client: usable on its own, without a database, a queue or a job.

async with Runware() as client:                     # RUNWARE_API_KEY from the environment
    images = await client.run({"model": "runware:400@1", "positivePrompt": "a lighthouse"})
"""

from __future__ import annotations

from .client import Runware
from .config import RunOptions, RuntimeDependencies, SDKConfig, StreamOptions
from .error_codes import ErrorCode
from .errors import ConfigurationError, RunwareError, create_runware_error, is_runware_error
from .files import encode_local_files, file_to_base64, file_to_data_uri
from .log import LogEntry
from .outcomes import (
    Accepted,
    Blocked,
    Busy,
    Conflict,
    Missing,
    NoAnswer,
    NotSent,
    Polled,
    PollOutcome,
    Refused,
    SubmitOutcome,
    Unclear,
)
from .services.registry import bundled_registry, resolve_task_type
from .services.serverless import GetTaskOptions, InvokeOptions
from .services.serverless_api import ServerlessTask
from .services.validating import clear_validator_cache
from .text.streaming import TextStream, TextStreamResult

__all__ = [
    "Accepted",
    "Blocked",
    "Busy",
    "ConfigurationError",
    "Conflict",
    "ErrorCode",
    "GetTaskOptions",
    "InvokeOptions",
    "LogEntry",
    "Missing",
    "NoAnswer",
    "NotSent",
    "PollOutcome",
    "Polled",
    "Refused",
    "RunOptions",
    "RuntimeDependencies",
    "Runware",
    "RunwareError",
    "SDKConfig",
    "ServerlessTask",
    "StreamOptions",
    "SubmitOutcome",
    "TextStream",
    "TextStreamResult",
    "Unclear",
    "bundled_registry",
    "clear_validator_cache",
    "create_runware_error",
    "encode_local_files",
    "file_to_base64",
    "file_to_data_uri",
    "is_runware_error",
    "resolve_task_type",
]
