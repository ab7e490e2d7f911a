"""Serverless apps: a task is asked for until it is final, by a clock that the test moves."""

from __future__ import annotations

import pytest

from runware_jobs.client import RunwareError, create_runware_error
from runware_jobs.client.services.serverless import follow


def task(status="completed"):
    return {"id": "t", "status": status, "appId": "my-app", "endpointPath": "generate"}


class Hours:
    """A clock that moves by what is slept."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    async def follow(self, *answers, interval_s=2.0):
        left = list(answers)

        async def ask():
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, RunwareError):
                raise answer
            return answer

        return await follow(
            task("pending"), ask, interval_s=interval_s, sleep=self.sleep, clock=lambda: self.now
        )


UNKNOWN = create_runware_error("", "not found", status_code=404)


async def test_task_that_the_store_does_not_know_yet_is_asked_for_again():
    hours = Hours()

    done = await hours.follow(*[UNKNOWN] * 14, task())

    assert done["status"] == "completed"
    assert hours.now == 30


async def test_task_that_stays_unknown_is_an_error_after_half_a_minute():
    hours = Hours()

    with pytest.raises(RunwareError) as raised:
        await hours.follow(UNKNOWN)
    assert (raised.value.code, hours.now) == ("notFound", 30)


async def test_busy_service_is_asked_again_when_it_says_so():
    hours = Hours()
    busy = create_runware_error("", "slow down", status_code=429, retry_after_s=7.5)

    await hours.follow(busy, task("pending"), task())

    assert hours.slept == [2.0, 7.5, 2.0]


async def test_broken_line_does_not_end_the_following():
    hours = Hours()
    broken = create_runware_error("connectionLost", "broke")

    assert (await hours.follow(*[broken] * 20, task()))["status"] == "completed"


async def test_refused_key_ends_the_following():
    hours = Hours()

    with pytest.raises(RunwareError) as raised:
        await hours.follow(create_runware_error("", "no", status_code=401))
    assert raised.value.code == "auth"


async def test_status_that_is_not_known_is_not_the_end():
    assert (await Hours().follow(task("queued"), task()))["status"] == "completed"
