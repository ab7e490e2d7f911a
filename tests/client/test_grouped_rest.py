"""submit_many and poll_many over HTTP, against servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
import time

import httpx
import pytest

from runware_jobs.client import (
    Accepted,
    Busy,
    Conflict,
    Missing,
    NoAnswer,
    NotSent,
    Polled,
    Refused,
    RuntimeDependencies,
    Unclear,
)
from runware_jobs.client.wire.grouping import GroupTrust, TaskGroup, encode_task


async def test_many_tasks_travel_in_few_requests(open_client, http_platform, make_task):
    tasks = [make_task() for _ in range(120)]

    outcomes = await open_client().submit_many(tasks)

    assert sorted(len(request) for request in http_platform.requests) == [20, 50, 50]
    assert list(map(type, outcomes.values())) == [Accepted] * 120
    assert outcomes.keys() == {task["taskUUID"] for task in tasks}


async def test_group_is_cut_by_bytes_too(open_client, http_platform, make_task):
    tasks = [make_task(seedImage="A" * 3_000_000) for _ in range(5)]

    await open_client().submit_many(tasks)

    assert sorted(len(request) for request in http_platform.requests) == [1, 2, 2]


async def test_each_task_of_a_mixed_answer_gets_its_own_outcome(
    open_client, http_platform, make_task, answer_with
):
    taken, refused, there, silent = (make_task() for _ in range(4))
    http_platform.script = lambda _tasks: answer_with(
        {
            "data": [{"taskType": "imageInference", "taskUUID": taken["taskUUID"]}],
            "errors": [
                {
                    "code": "invalidModel",
                    "message": "m",
                    "taskUUID": refused["taskUUID"],
                    "parameter": ["width", "height"],
                },
                {"code": "conflictTaskUUID", "message": "m", "taskUUID": there["taskUUID"]},
            ],
        },
        status=400,
    )

    outcomes = await open_client().submit_many([taken, refused, there, silent])

    assert [type(outcomes[t["taskUUID"]]) for t in (taken, refused, there, silent)] == [
        Accepted,
        Refused,
        Conflict,
        Unclear,
    ]
    assert outcomes[refused["taskUUID"]].error.parameter == ("width", "height")


@pytest.mark.parametrize("broken", ["hang_up", "cut_off", "silence", "html"])
async def test_broken_answer_is_unclear_and_sent_once(
    open_client, http_platform, make_task, answer_with, broken
):
    async def silence():
        await asyncio.Event().wait()

    answers = {
        "hang_up": lambda _: answer_with(hang_up=True),
        "cut_off": lambda tasks: answer_with({"data": [dict(tasks[0])]}, part=20),
        "silence": lambda _: silence(),
        "html": lambda _: answer_with(b"<html>bad gateway</html>", status=502),
    }
    http_platform.script = answers[broken]
    task = make_task()

    outcomes = await open_client(submit_timeout=300).submit_many([task])

    assert isinstance(outcomes[task["taskUUID"]], Unclear)
    assert len(http_platform.requests) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"], ids=["refused", "no name"]
)
async def test_no_connection_means_not_sent(open_client, make_task, url):
    task = make_task()

    outcomes = await open_client(http_base_url=url).submit_many([task])

    assert isinstance(outcomes[task["taskUUID"]], NotSent)


async def test_failed_tls_means_not_sent(open_client, http_platform, make_task):
    task = make_task()

    outcomes = await open_client(http_base_url=http_platform.url.replace("http:", "https:")).submit_many(
        [task]
    )

    assert isinstance(outcomes[task["taskUUID"]], NotSent)
    assert http_platform.requests == []


async def test_nothing_is_sent_after_the_fence(open_client, http_platform, make_task):
    task = make_task()

    outcomes = await open_client().submit_many([task], send_before=time.time() - 0.001)

    assert isinstance(outcomes[task["taskUUID"]], NotSent)
    assert http_platform.requests == []


async def test_fence_is_asked_after_connecting_not_before(open_client, http_platform, make_task):
    """A connection that takes longer than the window must not carry the request out of it."""
    inner = httpx.AsyncHTTPTransport()

    class SlowNetwork(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            trace = request.extensions["trace"]

            async def at_the_last_moment(event, fields):
                if event == "http11.send_request_headers.started":
                    while time.time() < deadline:
                        await asyncio.sleep(0.01)
                await trace(event, fields)

            request.extensions["trace"] = at_the_last_moment
            return await inner.handle_async_request(request)

    task = make_task()
    deadline = time.time() + 0.2
    async with httpx.AsyncClient(transport=SlowNetwork()) as session:
        client = open_client(dependencies=RuntimeDependencies(session=session))
        outcomes = await client.submit_many([task], send_before=deadline)

    await inner.aclose()
    assert isinstance(outcomes[task["taskUUID"]], NotSent)
    assert http_platform.requests == []


async def test_injected_session_stays_open(open_client, http_platform, make_task):
    async with httpx.AsyncClient() as session:
        client = open_client(dependencies=RuntimeDependencies(session=session))
        await client.submit_many([make_task()])
        await client.close()

        assert not session.is_closed


@pytest.mark.parametrize("header", ["7", "Fri, 31 Dec 2999 23:59:59 GMT"], ids=["seconds", "date"])
async def test_retry_after_is_read(open_client, http_platform, make_task, answer_with, header):
    task = make_task()
    error = {"code": "rateLimitExceeded", "message": "full", "taskUUID": task["taskUUID"]}
    http_platform.script = lambda _: answer_with(
        {"errors": [error]}, status=429, headers={"retry-after": header}
    )

    outcome = (await open_client().submit_many([task]))[task["taskUUID"]]

    assert isinstance(outcome, Busy)
    assert outcome.retry_after_s == (7.0 if header == "7" else 3_600.0)


async def test_same_uuid_twice_in_one_call_is_a_mistake(open_client, http_platform, make_task):
    task = make_task()

    with pytest.raises(ValueError, match=task["taskUUID"]):
        await open_client().submit_many([task, task])
    assert http_platform.requests == []


@pytest.mark.parametrize("name", ["taskUUID", "taskType"])
async def test_task_without_identity_is_a_mistake(open_client, make_task, name):
    task = make_task()
    del task[name]

    with pytest.raises(ValueError, match=name):
        await open_client().submit_many([task])


async def test_task_that_is_no_json_costs_only_itself(open_client, http_platform, make_task):
    good, bad = make_task(), make_task(seedImage=object())

    outcomes = await open_client().submit_many([good, bad])

    assert isinstance(outcomes[good["taskUUID"]], Accepted)
    assert isinstance(outcomes[bad["taskUUID"]], Refused)


async def test_polls_are_grouped_and_tell_unknown_from_running(
    open_client, http_platform, make_task, answer_with
):
    known = [make_task()["taskUUID"] for _ in range(149)]
    http_platform.script = lambda tasks: answer_with(
        {
            "data": [
                {"taskUUID": t["taskUUID"], "status": "processing"} for t in tasks if t["taskUUID"] in known
            ]
        }
    )

    outcomes = await open_client().poll_many([*known, "ffffffff-ffff-4fff-8fff-ffffffffffff"])

    assert sorted(len(request) for request in http_platform.requests) == [50, 100]
    assert [type(outcomes[task_uuid]) for task_uuid in known] == [Polled] * 149
    assert isinstance(outcomes["ffffffff-ffff-4fff-8fff-ffffffffffff"], Missing)


async def test_failed_question_is_no_answer(open_client, http_platform, answer_with):
    http_platform.script = lambda _: answer_with(b"", status=503, headers={"retry-after": "3"})

    outcome = (await open_client().poll_many(["a"]))["a"]

    assert isinstance(outcome, NoAnswer)
    assert outcome.retry_after_s == 3.0
    assert len(http_platform.requests) == 1


async def test_answer_that_is_too_large_is_asked_for_in_halves(
    open_client, http_platform, answer_with, monkeypatch
):
    monkeypatch.setattr("runware_jobs.client.wire.sending._GROUP_ANSWER_BYTES", 5_000)
    http_platform.script = lambda tasks: answer_with(
        {
            "data": [
                {"taskUUID": t["taskUUID"], "status": "success", "imageBase64Data": "A" * 2_000}
                for t in tasks
            ]
        }
    )

    outcomes = await open_client().poll_many(["a", "b", "c", "d"])

    assert [type(outcome) for outcome in outcomes.values()] == [Polled] * 4
    assert sorted(len(request) for request in http_platform.requests) == [2, 2, 4]


async def test_requests_name_client_and_key(open_client, http_platform, make_task):
    await open_client().submit_many([make_task()])

    head = http_platform.heads[0].lower()
    assert "authorization: bearer test-key" in head
    assert "user-agent: runware-jobs/" in head


def refuse_groups_with(is_poison, answer_with):
    """A platform that refuses a whole request because of some of its tasks."""

    def answer(tasks):
        if is_poison([task["taskUUID"] for task in tasks]):
            return answer_with({"errors": [{"code": "invalidRequest", "message": "no"}]}, status=400)
        return answer_with(
            {"data": [{"taskUUID": task["taskUUID"], "status": "processing"} for task in tasks]}
        )

    return answer


async def test_poisonous_task_costs_only_itself_an_answer(open_client, http_platform, answer_with):
    http_platform.script = refuse_groups_with(lambda tasks: "poison" in tasks, answer_with)
    tasks = [*(str(number) for number in range(15)), "poison"]
    client = open_client()
    outcomes = await client.poll_many(tasks)
    asked_before = len(http_platform.requests)
    await client.poll_many(["a", "b", "c"])

    assert {task for task, outcome in outcomes.items() if not isinstance(outcome, Polled)} == {"poison"}
    assert isinstance(outcomes["poison"], NoAnswer)
    assert [len(request) for request in http_platform.requests[asked_before:]] == [3]


async def test_platform_that_takes_no_groups_is_asked_singly_from_then_on(
    open_client, http_platform, answer_with
):
    """Two groups without a common task, refused though each of their tasks passed alone, are proof."""
    http_platform.script = refuse_groups_with(lambda tasks: len(tasks) > 1, answer_with)
    client = open_client()
    first = await client.poll_many(["a", "b", "c", "d"])
    asked_before = len(http_platform.requests)
    second = await client.poll_many(["e", "f", "g"])

    assert {type(outcome) for outcome in (*first.values(), *second.values())} == {Polled}
    assert [len(request) for request in http_platform.requests[asked_before:]] == [1, 1, 1]


async def test_error_in_the_answer_to_a_group_is_no_end_of_a_task_that_runs(
    open_client, http_platform, answer_with
):
    """Taken for its end, the platform's word that it answers one question at a time would cost the result."""

    def answer(tasks):
        first, *others = (task["taskUUID"] for task in tasks)
        too_many = [
            {"code": "arrayTooLarge", "message": "One at a time.", "taskUUID": task} for task in others
        ]
        return answer_with({"data": [{"taskUUID": first, "status": "processing"}], "errors": too_many})

    http_platform.script = answer
    client = open_client()
    outcomes = await client.poll_many(["a", "b", "c"])
    outcomes |= await client.poll_many(["d", "e"])
    asked_before = len(http_platform.requests)
    outcomes |= await client.poll_many(["f", "g"])

    assert [[item["status"] for item in outcome.items] for outcome in outcomes.values()] == [
        ["processing"]
    ] * 7
    assert [len(request) for request in http_platform.requests[asked_before:]] == [1, 1]


async def test_failure_that_is_not_marked_as_one_is_asked_about_alone_and_groups_go_on(
    open_client, http_platform, answer_with
):
    http_platform.script = lambda tasks: answer_with(
        {
            "errors": [
                {"code": "timeoutProvider", "message": "m", "taskUUID": task["taskUUID"]} for task in tasks
            ]
        }
    )
    client = open_client()
    outcomes = await client.poll_many(["a", "b"])
    outcomes |= await client.poll_many(["c", "d"])
    asked_before = len(http_platform.requests)
    await client.poll_many(["e", "f"])

    assert [[error.code for error in outcome.errors] for outcome in outcomes.values()] == [["timeout"]] * 4
    assert len(http_platform.requests[asked_before]) == 2


async def test_one_refused_group_is_no_proof(open_client, http_platform, answer_with):
    http_platform.script = refuse_groups_with(lambda tasks: len(tasks) > 1, answer_with)
    client = open_client()
    await client.poll_many(["a", "b"])
    asked_before = len(http_platform.requests)
    await client.poll_many(["a", "b"])

    assert [len(request) for request in http_platform.requests[asked_before:]] == [2, 1, 1]


def test_distrust_of_groups_ends():
    now_s = [0.0]
    trust = GroupTrust(clock=lambda: now_s[0])
    for names in ("ab", "cd"):
        trust.refused_although_each_passed(
            TaskGroup(tuple(encode_task({"taskType": "getResponse", "taskUUID": name}) for name in names))
        )

    assert trust.is_lost
    now_s[0] = 601.0
    assert not trust.is_lost


async def test_busy_group_is_not_divided(open_client, http_platform, answer_with):
    http_platform.script = lambda _: answer_with({"errors": [{"code": "rateLimit"}]}, status=429)
    await open_client().poll_many(["a", "b", "c"])

    assert [len(request) for request in http_platform.requests] == [3]


async def test_redirect_is_not_followed_whatever_the_session_would_do(
    http_platform, open_client, make_task, answer_with
):
    """A POST that is sent on elsewhere would be a second task, or one at somebody else's."""
    http_platform.script = lambda _: answer_with(b"", status=307, headers={"location": http_platform.url})
    async with httpx.AsyncClient(follow_redirects=True) as session:
        client = open_client(dependencies=RuntimeDependencies(session=session))
        task = make_task()
        outcomes = await client.submit_many([task])

    assert isinstance(outcomes[task["taskUUID"]], Unclear)
    assert len(http_platform.requests) == 1


async def test_compressed_answer_is_read(open_client, http_platform, make_task, answer_with, ack_of):
    http_platform.script = lambda tasks: answer_with(
        gzip.compress(json.dumps({"data": [ack_of(task) for task in tasks]}).encode()),
        headers={"content-encoding": "gzip"},
    )
    task = make_task()

    assert isinstance((await open_client().submit_many([task]))[task["taskUUID"]], Accepted)


async def test_all_errors_of_a_task_are_kept(open_client, http_platform, make_task, answer_with):
    http_platform.script = lambda tasks: answer_with(
        {
            "errors": [
                {"code": "invalidWidth", "message": "w", "taskUUID": tasks[0]["taskUUID"]},
                {"code": "invalidHeight", "message": "h", "taskUUID": tasks[0]["taskUUID"]},
            ]
        },
        status=400,
    )
    task = make_task()
    error = (await open_client().submit_many([task]))[task["taskUUID"]].error

    assert [error.message, *(other.message for other in error.others)] == ["w", "h"]
