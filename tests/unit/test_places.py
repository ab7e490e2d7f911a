"""Places: a slow host, or one endpoint with many of them, never takes what the others need."""

from __future__ import annotations

from uuid import uuid4

from runware_jobs.core.places import MOST_HELD, MOST_ON_WIRE, Places

ENDPOINT = uuid4()


def start_all(places, host, endpoint_id, *, most=1_000):
    """Hold and start as many as there is room and place for; give how many are on the wire."""
    held = 0
    while held < most and places.room(host, endpoint_id) > 0:
        places.hold(host, endpoint_id)
        held += 1
    return sum(places.start(host, endpoint_id) for _ in range(held))


def answer(places, host, endpoint_id, *, took_s=0.01, succeeded=True):
    places.end(host, endpoint_id, took_s=took_s, succeeded=succeeded)
    places.let_go(host, endpoint_id)


def quick(places, host, endpoint_id=ENDPOINT):
    """Make a host known as one that answers at once."""
    for _ in range(10):
        places.hold(host, endpoint_id)
        assert places.start(host, endpoint_id)
        answer(places, host, endpoint_id)


def test_unknown_host_gets_two_places():
    assert start_all(Places(), "https://a", ENDPOINT) == 2


def test_quick_host_becomes_wide_and_its_rows_are_claimed_many_at_a_time():
    places = Places()
    quick(places, "https://a")

    assert places.room("https://a", ENDPOINT) == 128
    assert start_all(places, "https://a", ENDPOINT) == 8


def test_slow_host_holds_no_more_than_it_sends():
    places = Places()
    quick(places, "https://a")
    places.hold("https://a", ENDPOINT)
    assert places.start("https://a", ENDPOINT)
    answer(places, "https://a", ENDPOINT, took_s=1.0)

    assert places.room("https://a", ENDPOINT) == 8


def test_failing_host_becomes_narrow_and_another_stays_as_it_is():
    places = Places()
    quick(places, "https://a")
    quick(places, "https://b")
    for _ in range(5):
        places.hold("https://a", ENDPOINT)
        assert places.start("https://a", ENDPOINT)
        answer(places, "https://a", ENDPOINT, succeeded=False)

    assert (places.room("https://a", ENDPOINT), places.room("https://b", ENDPOINT)) == (1, 128)


def test_what_was_never_asked_teaches_nothing():
    places = Places()
    quick(places, "https://a")
    places.hold("https://a", ENDPOINT)
    assert places.start("https://a", ENDPOINT)
    answer(places, "https://a", ENDPOINT, succeeded=None)

    assert places.room("https://a", ENDPOINT) == 128


def test_few_more_are_not_claimed_until_half_of_them_have_left():
    places = Places()
    quick(places, "https://a")
    for _ in range(65):
        places.hold("https://a", ENDPOINT)
    before = places.room("https://a", ENDPOINT)
    places.let_go("https://a", ENDPOINT)

    assert (before, places.room("https://a", ENDPOINT)) == (0, 64)


def test_endpoint_of_many_hosts_gets_half_of_everything():
    places = Places()
    on_wire = sum(start_all(places, f"https://{number}.a", ENDPOINT) for number in range(MOST_HELD))

    assert on_wire == MOST_ON_WIRE // 2
    assert places.held == MOST_HELD // 2
    assert start_all(places, "https://b", uuid4()) == 2


def test_all_hosts_together_get_no_more_than_there_is():
    places = Places()
    for number in range(MOST_HELD):
        start_all(places, f"https://{number}", uuid4())

    assert (places.on_wire, places.held) == (MOST_ON_WIRE, MOST_HELD)


def test_hosts_of_long_ago_are_forgotten():
    places = Places()
    for number in range(3_000):
        places.hold(f"https://{number}", ENDPOINT)
        places.let_go(f"https://{number}", ENDPOINT)

    assert len(places._hosts) <= 1_000
