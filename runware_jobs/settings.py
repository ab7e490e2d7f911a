"""The settings, read once from the environment into one frozen object.

Every name carries the prefix `RUNWARE_JOBS_`, except `RUNWARE_API_KEY`. A wrong
value, or two that contradict each other, is refused at start with one line that
names the setting and the remedy. Below `assembly` nobody reads settings.
"""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003  pydantic evaluates the annotations
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import SettingsError

PLATFORM_HTTP_URL: Final = "https://api.runware.ai/v1"
PLATFORM_WS_URL: Final = "wss://ws-api.runware.ai/v1"

# Polite against the real platform, which publishes no quota and advises a steady
# small concurrency (PROTOCOL 14); whatever else is called is ours to load.
_POLITE_IN_FLIGHT: Final = 16
_POLITE_REQUESTS_PER_S: Final = 5.0
_FREE_IN_FLIGHT: Final = 10_000
_FREE_REQUESTS_PER_S: Final = 1_000.0
_WRITE_TIMEOUT_S: Final = 10.0  # the client's own limit for one write
_LEASE_MARGIN_S: Final = 1.0


class Settings(BaseSettings):
    """All settings. Frozen; every duration is in seconds, every amount in US dollars.

    Raises:
        SettingsError: a value is out of range, unknown, or contradicts another.
    """

    model_config = SettingsConfigDict(
        env_prefix="RUNWARE_JOBS_", frozen=True, extra="forbid", populate_by_name=True, env_ignore_empty=True
    )

    # Where things are
    api_key: SecretStr | None = Field(default=None, validation_alias="RUNWARE_API_KEY")
    database_url: str | None = None
    broker_url: str | None = None
    http_base_url: str = PLATFORM_HTTP_URL
    ws_base_url: str = PLATFORM_WS_URL
    schemas_base_url: str = "https://schemas.runware.ai"
    content_base_url: str = "https://content.runware.ai"
    serverless_base_url: str = "https://api.serverless.runware.ai"
    home: Path = Path(".runware-jobs")
    embedded_idle_s: float = Field(default=600.0, ge=0)
    # How the platform is talked to
    transport: Literal["rest", "websocket"] = "rest"
    max_in_flight: int | None = Field(default=None, ge=1)
    max_requests_per_s: float | None = Field(default=None, gt=0)
    submit_group_size: int = Field(default=50, ge=1, le=50)
    poll_group_size: int = Field(default=100, ge=1, le=100)
    poll_min_interval_s: float = Field(default=0.25, gt=0)
    send_window_s: float = Field(default=5.0, gt=0)
    request_timeout_s: float = Field(default=30.0, gt=0)
    # Who owns what, and what happens when nobody does
    lease_s: float = Field(default=60.0, gt=0)
    reconcile_grace_s: float = Field(default=3.0, ge=0)
    reconcile_max_age_s: float = Field(default=86_400.0, ge=0)
    reconcile_resend: Literal["auto", "never"] = "auto"
    lost_after_s: float = Field(default=3_600.0, gt=0)
    stuck_after_s: float = Field(default=86_400.0, gt=0)
    # The worker process
    pool: Literal["threads", "prefork", "solo"] = "threads"
    db_pool_size: int = Field(default=3, ge=2)
    clocks: int = Field(default=2, ge=1)
    imports: Annotated[tuple[str, ...], NoDecode] = ()
    # Money, deadlines, what leaves
    daily_spend_limit_usd: Decimal | None = Field(default=None, gt=0)
    cost_per: Literal["item", "task"] = "item"
    job_deadline_s: float | None = Field(default=None, gt=0)
    secret_key: SecretStr | None = None
    callback_base_url: str | None = None
    archive_url: str | None = None
    allow_private_webhooks: bool = False

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_one_line(error)) from None

    @model_validator(mode="before")
    @classmethod
    def _split_imports(cls, values: Any) -> Any:
        names = values.get("imports") if isinstance(values, dict) else None
        if isinstance(names, str):
            values = {**values, "imports": tuple(name.strip() for name in names.split(",") if name.strip())}
        return values

    @model_validator(mode="after")
    def _contradictions(self) -> Self:
        longest = self.send_window_s + self.write_timeout_s + self.request_timeout_s + _LEASE_MARGIN_S
        if longest >= self.lease_s:
            # A process whose lease has lapsed must not have a request on the wire:
            # its successor settles the attempt as if it were alone (DESIGN 4).
            raise ValueError(
                f"LEASE_S ({self.lease_s:g}) must exceed {longest:g}: SEND_WINDOW_S + the write timeout "
                f"({self.write_timeout_s:g}) + REQUEST_TIMEOUT_S + {_LEASE_MARGIN_S:g}; raise LEASE_S or lower those"
            )
        for name, schemes in _SCHEMES.items():
            value = getattr(self, name)
            if value is not None and not value.startswith(schemes):
                raise ValueError(
                    f"{name.upper()} must start with {' or '.join(schemes)}, got {value.split(':')[0]!r}"
                )
        return self

    @property
    def is_platform(self) -> bool:
        """True when tasks would run, and cost money, on the real platform."""
        return self.http_base_url.startswith("https://api.runware.ai")

    @property
    def knows_platform(self) -> bool:
        """True when this process was told whom to call; a light producer is not."""
        return self.api_key is not None or self.http_base_url != PLATFORM_HTTP_URL

    @property
    def realm(self) -> Literal["emulator", "platform"]:
        """Name the embedded data to use: jobs of a demo never run for money the next day."""
        return "platform" if self.is_platform and self.api_key is not None else "emulator"

    @property
    def in_flight_limit(self) -> int:
        """Tasks in flight per account, over all workers."""
        return self.max_in_flight or (_POLITE_IN_FLIGHT if self.is_platform else _FREE_IN_FLIGHT)

    @property
    def requests_per_s_limit(self) -> float:
        """Requests per second and account, over all workers."""
        return self.max_requests_per_s or (
            _POLITE_REQUESTS_PER_S if self.is_platform else _FREE_REQUESTS_PER_S
        )

    @property
    def write_timeout_s(self) -> float:
        """How long one write to the platform may take."""
        return min(_WRITE_TIMEOUT_S, self.request_timeout_s)


_SCHEMES: Final[dict[str, tuple[str, ...]]] = {
    "database_url": ("postgresql://", "postgres://", "postgresql+psycopg://"),
    "broker_url": ("redis://", "rediss://", "redis+socket://", "amqp://", "amqps://"),
    "http_base_url": ("http://", "https://"),
    "ws_base_url": ("ws://", "wss://"),
    "callback_base_url": ("https://", "http://"),
    "archive_url": ("file://", "s3://"),
}


def _one_line(error: ValidationError) -> str:
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if not place:
            problems.append(f"RUNWARE_JOBS_{message}")
        elif item["type"] == "extra_forbidden":
            problems.append(f"unknown setting {place!r}")
        else:
            name = place.upper() if place.upper() == "RUNWARE_API_KEY" else f"RUNWARE_JOBS_{place.upper()}"
            problems.append(f"{name}: {message[:1].lower()}{message[1:]}")
    return "Settings are wrong: " + "; ".join(problems)
