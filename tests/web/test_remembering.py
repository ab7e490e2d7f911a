"""Costly answers are asked for rarely, and once for many."""

from __future__ import annotations

import asyncio

from runware_jobs.web.remembering import Remembered


class Question:
    """Counts how often it was asked; each answer takes `cost_s` of the clock."""

    def __init__(self, cost_s=0.0):
        self.now = 100.0
        self.cost_s = cost_s
        self.asked = 0

    def clock(self):
        return self.now

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0)
        self.now += self.cost_s
        return self.asked


async def test_many_who_ask_at_once_make_one_question():
    question = Question()
    remembered = Remembered(question.clock)

    answers = await asyncio.gather(*(remembered.get("key", question) for _ in range(10)))

    assert answers == [1] * 10


async def test_a_cheap_answer_is_kept_for_a_second():
    question = Question()
    remembered = Remembered(question.clock)
    await remembered.get("key", question)

    question.now += 0.99
    assert await remembered.get("key", question) == 1
    question.now += 0.02
    assert await remembered.get("key", question) == 2


async def test_an_answer_that_took_long_is_kept_twenty_times_as_long():
    question = Question(cost_s=3.0)
    remembered = Remembered(question.clock)
    await remembered.get("key", question)

    question.now += 59
    assert await remembered.get("key", question) == 1
    question.now += 2
    assert await remembered.get("key", question) == 2


async def test_keys_are_kept_apart_and_errors_are_not_kept():
    question = Question()
    remembered = Remembered(question.clock)

    async def fail():
        raise OSError

    assert isinstance((await asyncio.gather(remembered.get("a", fail), return_exceptions=True))[0], OSError)
    assert await remembered.get("a", question) == 1
    assert await remembered.get("b", question) == 2
