"""Options as producers give them: whose word counts about the deadline that an operator has set."""

from __future__ import annotations

import pytest

from runware_jobs.errors import InvalidJob
from runware_jobs.options import read_options
from runware_jobs.settings import Settings

LIMITED = Settings(job_deadline_s=600)


@pytest.mark.parametrize(
    ("label", "given", "is_operator", "deadline_s"),
    [
        ("an operator names none", {}, True, 600),
        ("an operator lifts it", {"deadline_s": None}, True, None),
        ("an operator names a later one", {"deadline_s": 3600}, True, 3600),
        ("a tenant names none", {}, False, 600),
        ("a tenant would lift it", {"deadline_s": None}, False, 600),
        ("a tenant names an earlier one", {"deadline_s": 60}, False, 60),
        ("a tenant names the same", {"deadline_s": 600}, False, 600),
    ],
)
def test_deadline_of_a_job(label, given, is_operator, deadline_s):
    assert deadline_s == read_options(given, LIMITED, is_operator=is_operator).deadline_s


def test_tenant_may_name_any_deadline_where_none_is_set():
    assert (
        read_options({"deadline_s": 1e6}, Settings(job_deadline_s=None), is_operator=False).deadline_s == 1e6
    )


def test_later_deadline_of_a_tenant_is_refused_with_the_latest_one():
    with pytest.raises(InvalidJob, match="at most 600") as refused:
        read_options({"deadline_s": 601}, LIMITED, is_operator=False)

    assert refused.value.parameter == "deadline_s"
