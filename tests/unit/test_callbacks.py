"""Callback addresses: each of one task, the same every time, and not to be guessed or changed."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.callbacks import callback_url, task_of_token

SECRET = b"an installation's secret"
TASK = UUID("0f3b7a52-6a67-4b0e-9d3c-7d1f2a5b8c11")


def token_of(task=TASK, secret=SECRET):
    return callback_url("https://jobs.example/", secret, task).rpartition("/")[2]


def test_address_lies_below_the_base_and_is_the_same_every_time():
    url = callback_url("https://jobs.example/base/", SECRET, TASK)

    assert url == callback_url("https://jobs.example/base", SECRET, TASK)
    assert url.startswith("https://jobs.example/base/v1/callbacks/runware/")
    assert str(TASK) not in url


@given(st.uuids(), st.binary(min_size=1))
def test_token_names_its_task_and_only_with_the_secret_it_was_made_with(task, secret):
    token = token_of(task, secret)

    assert task_of_token(secret, token) == task
    assert task_of_token(secret + b"x", token) is None


@given(st.integers(0, 42), st.characters(codec="ascii"))
def test_changed_token_names_no_other_task(place, character):
    token = token_of()

    assert task_of_token(SECRET, token[:place] + character + token[place + 1 :]) in {None, TASK}


@pytest.mark.parametrize(
    "token", ["", "A", "====", "é" * 43, "A" * 43, "A" * 100_000, token_of()[:-2], token_of() + "AAAA"]
)
def test_anything_else_names_nothing(token):
    assert task_of_token(SECRET, token) is None
