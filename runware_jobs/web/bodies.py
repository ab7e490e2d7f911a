"""What requests may hold. Names not listed here are refused: `link`, `session` and the like are for Python."""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runware_jobs.core.events import DEFAULT_WEBHOOK_EVENTS, EventType
from runware_jobs.core.request import Options
from runware_jobs.core.states import Kind, OnPartial

Name = Annotated[str, Field(min_length=1, max_length=255)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Dollars = Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=6)]
Params = dict[str, Any]

# Every name and every group several times over; a body that goes on says nothing more.
_MOST_EVENTS: Final = 100

_OPTIONS = frozenset(Options.__dataclass_fields__) - {"tenant"}


class Body(BaseModel):
    """A body whose unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class SharedOptions(Body):
    """Options that one job, or every job of a batch, may have."""

    kind: Kind = Kind.RUN
    tenant: Name | None = Field(default=None, description="The key's tenant when left out.")
    priority: int = Field(default=5, ge=0, le=9, description="9 first.")
    delay_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    start_deadline_s: Seconds | None = None
    deadline_s: Seconds | None = None
    max_attempts: int = Field(default=3, ge=1, le=100)
    on_partial: OnPartial = OnPartial.SUCCEED
    webhook_url: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: list[Name] = Field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """Give the options that were sent, as `enqueue` takes them, without the tenant."""
        return self.model_dump(include=set(self.model_fields_set & _OPTIONS))


class JobRequest(SharedOptions):
    """One job."""

    params: Params = Field(description="The platform's parameters, as they are.")
    idempotency_key: Name | None = Field(default=None, description="Or the header Idempotency-Key.")
    external_id: Name | None = None
    custom_id: Name | None = None


class BatchOptions(SharedOptions):
    """What holds for a whole batch."""

    name: str = Field(default="", max_length=255)
    budget_usd: Dollars | None = None
    defaults: Params = Field(default_factory=dict, description="Each job's params are laid over these.")


class BatchRequest(BatchOptions):
    """A batch as one JSON body."""

    jobs: list[Params] = Field(
        min_length=1, description='Each is params, or {"custom_id": "...", "params": {...}}.'
    )


class RetryRequest(Body):
    """How to run a job again."""

    accept_double_billing: bool = False


class ResumeRequest(Body):
    """How to go on with a batch."""

    budget_usd: Dollars | None = Field(default=None, description="A new budget; the old one when left out.")


_EVENTS: Final = f"Names of events ({', '.join(EventType)}), or `job.*` and the like for all of a kind."


class EndpointRequest(Body):
    """A new webhook endpoint."""

    url: str
    events: list[str] = Field(
        default_factory=list,
        description=f"{_EVENTS} Empty: {', '.join(sorted(DEFAULT_WEBHOOK_EVENTS))}.",
        max_length=_MOST_EVENTS,
    )
    tenant: Name | None = None


class EndpointChange(Body):
    """What to change about an endpoint; what is left out stays."""

    events: list[str] | None = Field(default=None, description=_EVENTS, max_length=_MOST_EVENTS)
    is_enabled: bool | None = None
    has_old_secret: Literal[False] | None = Field(
        default=None, description="false: only the newest secret signs from now on."
    )


class RedeliveryRequest(Body):
    """Which events to send an endpoint again; answered in pages where they are many."""

    since: AwareDatetime = Field(description="Events from this time on.")
    until: AwareDatetime | None = Field(
        default=None, description="Up to, and not with, this time; now when left out."
    )
    only_failed: bool = Field(default=False, description="Leave out what the endpoint has answered with 2xx.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the answer before.")
