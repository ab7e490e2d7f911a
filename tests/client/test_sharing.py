"""Concurrent runs of one client: few requests, and to each its own outcome."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from runware_jobs.client import RunOptions, RunwareError, create_runware_error

PARAMS = {"taskType": "imageInference", "model": "runware:400@1", "positivePrompt": "a lighthouse"}
POISON = "poison"


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch):
    """The pauses between polls are the platform's pace, not what is tested here."""
    monkeypatch.setattr("runware_jobs.client.running.runs._FIRST_POLL_S", 0.05)


class Platform:
    """Takes and finishes every task; requests of the kinds in `strict_about` it refuses whole for one bad task."""

    def __init__(self, *, strict_about=(), refusal="invalidRequest"):
        self.refusal = {"errors": [{"code": refusal, "message": "one of these is wrong"}]}
        self.taken = set()
        self.prompts = {}
        self.strict_about = strict_about

    def answer(self, tasks):
        """Give the envelope, or None when the request is refused as a whole."""
        self.prompts |= {t["taskUUID"]: t["positivePrompt"] for t in tasks if "positivePrompt" in t}
        kinds = {"poll" if task["taskType"] == "getResponse" else "submit" for task in tasks}
        if kinds & set(self.strict_about) and any(self.prompts[t["taskUUID"]] == POISON for t in tasks):
            return None
        envelope = {"data": [], "errors": []}
        for task in tasks:
            named = {"taskType": "imageInference", "taskUUID": task["taskUUID"]}
            if task["taskType"] == "getResponse":
                envelope["data"].append(
                    {**named, "status": "success", "imageURL": self.prompts[task["taskUUID"]]}
                )
            elif task["taskUUID"] in self.taken:
                envelope["errors"].append({**named, "code": "conflictTaskUUID", "message": "known"})
            else:
                self.taken.add(task["taskUUID"])
                envelope["data"].append(named)
        return {key: entries for key, entries in envelope.items() if entries}


@pytest.fixture(params=["rest", "websocket"])
def install(request, http_platform, socket_platform, open_client, answer_with, send_frame):
    """Put a platform behind a client of either transport; give the client and what it sent."""

    def over_http(platform):
        def script(tasks):
            envelope = platform.answer(tasks)
            return answer_with(envelope or platform.refusal, status=200 if envelope else 400)

        return script

    def over_socket(platform):
        async def script(connection, tasks):
            await send_frame(connection, **(platform.answer(tasks) or platform.refusal))

        return script

    def put(platform):
        http_platform.script = over_http(platform)
        socket_platform.script = over_socket(platform)
        sent = http_platform.requests if request.param == "rest" else socket_platform.frames
        return open_client(transport=request.param, max_retries=2), sent

    return put


def submits(sent):
    return [
        [t for t in request if t["taskType"] != "getResponse"]
        for request in sent
        if "positivePrompt" in request[0]
    ]


async def test_runs_that_start_together_share_submits_and_polls(install):
    client, sent = install(Platform())
    prompts = [f"number {n}" for n in range(120)]
    results = await asyncio.gather(*(client.run({**PARAMS, "positivePrompt": prompt}) for prompt in prompts))

    assert [items[0]["imageURL"] for items in results] == prompts
    assert [len(request) for request in submits(sent)] == [50, 50, 20]
    assert len(sent) <= 3 + 2 * 3


async def test_run_alone_is_sent_alone(install):
    client, sent = install(Platform())
    await client.run(PARAMS)

    assert [len(request) for request in sent] == [1, 1]


@pytest.mark.parametrize("refusal", ["invalidRequest", "contentPolicyViolation", "providerError"])
async def test_task_that_spoils_a_submit_spoils_only_its_own_run(install, refusal):
    client, _ = install(Platform(strict_about=("submit",), refusal=refusal))
    prompts = [POISON if n == 7 else f"number {n}" for n in range(20)]
    outcomes = await asyncio.gather(
        *(client.run({**PARAMS, "positivePrompt": prompt}) for prompt in prompts), return_exceptions=True
    )

    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RunwareError)] == [7]
    assert outcomes[7].code == create_runware_error(refusal, "m").code


async def test_task_that_spoils_a_poll_spoils_only_its_own_run(install):
    client, _ = install(Platform(strict_about=("poll",)))
    prompts = [POISON if n == 7 else f"number {n}" for n in range(20)]
    outcomes = await asyncio.gather(
        *(client.run({**PARAMS, "positivePrompt": prompt}) for prompt in prompts), return_exceptions=True
    )

    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, RunwareError)] == [7]


async def test_same_task_uuid_twice_is_never_in_one_request(install):
    client, sent = install(Platform())
    params = {**PARAMS, "taskUUID": str(uuid.uuid4())}
    outcomes = await asyncio.gather(client.run(params), client.run(params), return_exceptions=True)

    assert [len(request) for request in submits(sent)] == [1, 1]
    refused = [outcome for outcome in outcomes if isinstance(outcome, RunwareError)]
    assert [error.code.value for error in refused] == ["validation"]


async def test_closing_the_client_ends_every_run(install, monkeypatch):
    monkeypatch.setattr("runware_jobs.client.running.runs._FIRST_POLL_S", 60.0)
    platform = Platform()
    client, _ = install(platform)
    running = [asyncio.create_task(client.run(PARAMS)) for _ in range(10)]
    async with asyncio.timeout(10):
        while len(platform.taken) < 10:
            await asyncio.sleep(0)
        await client.close()
        outcomes = await asyncio.gather(*running, return_exceptions=True)

    assert {outcome.code.value for outcome in outcomes} == {"connection"}


async def test_run_that_is_cancelled_does_not_end_its_neighbours(install):
    client, sent = install(Platform())
    cancel = asyncio.Event()
    first = asyncio.create_task(client.run(PARAMS, RunOptions(cancel_event=cancel)))
    second = asyncio.create_task(client.run(PARAMS))
    while not submits(sent):
        await asyncio.sleep(0)
    cancel.set()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)

    assert len(submits(sent)[0]) == 2
    assert outcomes[0].code == "aborted"
    assert outcomes[1][0]["imageURL"] == PARAMS["positivePrompt"]


async def test_lost_answer_is_asked_for_again_task_by_task(
    http_platform, open_client, answer_with, monkeypatch
):
    monkeypatch.setattr("runware_jobs.client.running.runs.RESEND_AGE_S", 0.0)
    platform = Platform()

    def script(tasks):
        is_first = not platform.taken
        envelope = platform.answer(tasks)
        return answer_with(envelope, hang_up=is_first)

    http_platform.script = script
    client = open_client()
    results = await asyncio.gather(*(client.run(PARAMS) for _ in range(5)))

    assert [len(request) for request in submits(http_platform.requests)] == [5, 1, 1, 1, 1, 1]
    assert len(platform.taken) == len(results) == 5


async def test_error_that_names_nobody_ends_only_the_run_that_it_means(
    http_platform, open_client, answer_with
):
    platform = Platform(strict_about=("submit",))

    def script(tasks):
        """Take what is good, and tell of the rest without a name."""
        good = [
            task for task in tasks if task.get("positivePrompt") not in {POISON, "unlucky"} or len(tasks) == 1
        ]
        refused = {"errors": [{"code": "invalidRequest", "message": "one of these is wrong"}]}
        envelope = platform.answer(good) if good else {}
        status = 400 if envelope is None else 200
        return answer_with(
            {**(envelope or {}), **(refused if len(good) < len(tasks) or not envelope else {})}, status=status
        )

    http_platform.script = script
    client = open_client()
    prompts = ["first", "unlucky", POISON, "last"]
    outcomes = await asyncio.gather(
        *(client.run({**PARAMS, "positivePrompt": prompt}) for prompt in prompts), return_exceptions=True
    )

    assert [
        prompt for prompt, outcome in zip(prompts, outcomes, strict=True) if isinstance(outcome, RunwareError)
    ] == [POISON]


async def test_run_that_ends_while_the_line_is_down_is_never_sent(open_client, socket_platform, fast_pace):
    client = open_client(transport="websocket")
    await client.connect()
    socket_platform.may_authenticate.clear()
    await socket_platform.connections[0].close()
    socket_platform.script = finish_at_once

    kept = asyncio.create_task(client.run({**PARAMS, "positivePrompt": "kept"}))
    with pytest.raises(RunwareError) as raised:
        await client.run({**PARAMS, "positivePrompt": "given up"}, RunOptions(timeout=100))
    assert raised.value.code == "timeout"
    socket_platform.may_authenticate.set()
    async with asyncio.timeout(10):
        await kept

    assert [task["positivePrompt"] for frame in submits(socket_platform.frames) for task in frame] == ["kept"]


async def test_request_that_nobody_waits_for_any_more_ends(open_client, socket_platform):
    client = open_client(transport="websocket")
    arrived = asyncio.Event()

    async def stay_silent(_connection, _frame):
        arrived.set()

    socket_platform.script = stay_silent
    running = [asyncio.create_task(client.run(PARAMS)) for _ in range(3)]
    async with asyncio.timeout(10):
        await arrived.wait()
        request = next(task for task in asyncio.all_tasks() if task.get_name() == "runware-shared-request")
        for run in running:
            run.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.wait({request})
    assert client.is_connected


async def finish_at_once(connection, frame):
    items = [{**task, "status": "success", "imageURL": "https://x.example/1"} for task in frame]
    await connection.send(json.dumps({"data": [{**i, "taskType": "imageInference"} for i in items]}))
