"""What docs/webhooks.md says is what is sent: its samples run, its bodies are those of real events."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
from pathlib import Path
from uuid import uuid4

from runware_jobs.cli.app import run
from runware_jobs.core.delivery import SCHEDULE_S
from runware_jobs.core.endpoints import GIVEN_UP_AFTER_S, OVERLAP_S, TEST_EVENT
from runware_jobs.core.events import DEFAULT_WEBHOOK_EVENTS, EventType
from runware_jobs.core.signing import new_secret, sign
from runware_jobs.core.states import JobState
from runware_jobs.steps.submit import submit
from runware_jobs.steps.webhook_body import MAX_BODY_BYTES, body_of
from runware_jobs.store import batches, endpoints, pauses
from runware_jobs.store.jobs import read_jobs
from runware_jobs.webhooks.sender import DEFAULT_TIMEOUT_S
from tests.steps.conftest import follow
from tests.steps.test_deliver import add_endpoint
from tests.steps.test_submit_and_poll import added
from tests.support.delivering import claim, mark_delivered
from tests.support.node_packages import skip_or_fail, why_missing

GUIDE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text()
NODE = Path(__file__).parent / "node"
ROWS = {
    name: (star, data)
    for name, star, data in re.findall(r"^\| `([a-z.]+)`( ★)? \| .* \| (.*) \|$", GUIDE, re.MULTILINE)
}
BODY = b'{"id": "1f0c", "type": "job.succeeded"}'


def block(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def signed(secret):
    return sign([secret], webhook_id="1f0c", timestamp=dt.datetime.now(dt.UTC), body=BODY)


def test_every_event_is_in_the_table_with_a_star_if_it_is_told_by_default():
    assert set(ROWS) == {*EventType, TEST_EVENT}
    assert {name for name, (star, _) in ROWS.items() if star} == DEFAULT_WEBHOOK_EVENTS


def test_times_and_sizes_are_those_of_the_code():
    shown = [
        f"{s:g} s" if s < 60 else f"{s / 60:g} min" if s < 3600 else f"{s / 3600:g} h" for s in SCHEDULE_S
    ]
    said = " ".join(GUIDE.split())

    assert f"tried again after {', '.join(shown[:-1])} and {shown[-1]}" in said
    assert f"{GIVEN_UP_AFTER_S / 86_400:g} days without a single success" in said
    assert f"For {OVERLAP_S / 3600:g} hours each message carries two signatures" in said
    assert f"no answer within {DEFAULT_TIMEOUT_S:g} seconds" in said
    assert f"larger than {MAX_BODY_BYTES / 1000:g} kB" in said


def test_commands_of_the_guide_are_there():
    commands = set(re.findall(r"runware-jobs (webhooks [a-z]+|[a-z]+)", GUIDE))

    assert {"webhooks redeliver", "webhooks enable", "prune"} <= commands
    assert {command: run([*command.split(), "--help"]) for command in commands} == dict.fromkeys(commands, 0)


def test_python_sample_verifies_and_refuses():
    sample: dict[str, object] = {}
    exec(block("python")[1], sample)
    secret = new_secret()

    assert sample["event_of"](secret, BODY, signed(secret)) == json.loads(BODY)
    assert sample["event_of"](secret, BODY + b" ", signed(secret)) is None


def test_javascript_sample_verifies_and_refuses():
    if (reason := why_missing(NODE)) is not None:
        skip_or_fail(reason)
    secret = new_secret()
    asked = json.dumps([secret, BODY.decode(), signed(secret)])
    script = (
        f"{block('js')[0]}\nconst [secret, body, headers] = {asked};\n"
        "console.log(JSON.stringify([eventOf(secret, body, headers), eventOf(secret, body + ' ', headers)]));"
    )
    said = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        cwd=NODE,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout

    assert json.loads(said) == [json.loads(BODY), None]


async def test_bodies_are_those_of_real_events(engine, emulator, workers):
    """One job to its end, a batch, a pause, and what becomes of endpoints."""
    async with workers() as context:
        endpoint_id, _ = await add_endpoint(engine, context, "https://a.example/x", *EventType)
        other, _ = await add_endpoint(engine, context, "https://b.example/x", "job.failed")
        batch_id = uuid4()
        async with engine.begin() as connection:
            await batches.create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
        await added(engine, batch_id=batch_id)
        await follow(context, (await submit(context)).watches)
        async with engine.begin() as connection:
            await batches.seal_batch(connection, batch_id)
            await batches.complete_batches(connection)
            await endpoints.tell_test(connection, endpoint_id)
            await endpoints.disable_endpoint(connection, other, reason="410 Gone")
            await pauses.pause_by_hand(connection, context.owner.account_id, reason="prices")
        sent = [body async for body in _bodies(engine)]

    [sample] = [json.loads(text) for text in block("json")]
    by_type = {body["type"]: body for body in sent}
    final = by_type["job.succeeded"]
    assert set(final) - {"batch_id"} == set(sample)
    assert set(final["data"]) == set(sample["data"])
    assert set(by_type) >= {
        *("job.queued", "job.submitted", "job.result", "batch.completed"),
        *("account.paused", "endpoint.disabled", "endpoint.test"),
    }
    shown = {name: json.loads(data.strip("`")) for name, (_, data) in ROWS.items() if data != "as above"}
    assert set(by_type["batch.completed"]["data"]) | set(shown.pop("batch.completed")) <= set(JobState)
    for name in set(shown) & set(by_type):
        assert set(by_type[name]["data"]) == set(shown[name]), name


async def _bodies(engine):
    while True:
        async with engine.begin() as connection:
            due = await claim(connection)
            jobs = await read_jobs(connection, {one.job_id for one in due if one.job_id is not None})
            await mark_delivered(connection, due)
        if not due:
            return
        for one in due:
            yield json.loads(body_of(one, jobs.get(one.job_id)))
