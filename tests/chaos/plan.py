"""What one seeded run is: its settings, the platform's habits, its jobs. All of it follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

# As short as the settings' own check allows for these timeouts, so that a kill is seen soon.
_SETTINGS = {
    "LEASE_S": "4",
    "SEND_WINDOW_S": "0.5",
    "REQUEST_TIMEOUT_S": "1",
    "RECONCILE_GRACE_S": "0.5",
    "POLL_MIN_INTERVAL_S": "0.2",
    "LOST_AFTER_S": "4",
    "SECRET_KEY": "a key that only tests use",
    "ALLOW_PRIVATE_WEBHOOKS": "true",
}
_MODELS = ("runware:400@1", "runware:101@1", "runware:100@1")


@dataclass(slots=True)
class Plan:
    """One run. `chance` is its own randomness; whoever draws from it draws in the order of the story."""

    scenario: str
    seed: int
    chance: random.Random
    settings: dict[str, str]
    switches: dict[str, Any]
    latencies: dict[str, Any]
    rules: list[dict[str, Any]] = field(default_factory=list)
    jobs: int = 30

    @property
    def forgets(self) -> bool:
        """True when the platform forgets finished tasks soon."""
        return bool(self.switches.get("retention_s", 86_400) < 60)


def make_plan(scenario: str, seed: int, *, jobs: int | None = None) -> Plan:
    """Draw a run: transport, groups, pool sizes, and the platform's answer to each open question."""
    chance = random.Random(f"{scenario} {seed}")
    settings = dict(_SETTINGS)
    settings["TRANSPORT"] = chance.choice(["rest", "websocket"])
    settings["SUBMIT_GROUP_SIZE"] = str(chance.choice([1, 5, 20, 50]))
    settings["POLL_GROUP_SIZE"] = str(chance.choice([3, 20, 100]))
    settings["RECONCILE_RESEND"] = chance.choice(["auto", "auto", "auto", "never"])
    settings["DB_POOL_SIZE"] = str(chance.choice([2, 3]))
    switches = {
        "conflict": chance.choice(["forever", "forever", "running"]),
        "unknown_task": chance.choice(["empty", "error"]),
        "duplicate_overwrites_archive": chance.choice([True, False]),
        "failure_form": chance.choice(["A", "B"]),
        "result_index": chance.choice([True, False]),
        "partial_status": chance.choice([200, 400]),
        "empty_errors": chance.choice([True, False]),
    }
    if scenario == "forgetful":
        switches["retention_s"] = 1
    slow = chance.choice([10, 60, 150])
    return Plan(
        scenario=scenario,
        seed=seed,
        chance=chance,
        settings=settings,
        switches=switches,
        latencies={"image": [2, slow], "video": [50, 150], "training": [100, 200]},
        jobs=jobs or chance.randint(20, 60),
    )


def make_params(chance: random.Random, number: int) -> dict[str, Any]:
    """Draw the params of one job: mostly small images, some of several results."""
    params: dict[str, Any] = {
        "model": chance.choice(_MODELS),
        "positivePrompt": f"street {number}",
        "width": 512,
        "height": 512,
    }
    if chance.random() < 0.15:
        params["numberResults"] = chance.randint(2, 4)
    return params
