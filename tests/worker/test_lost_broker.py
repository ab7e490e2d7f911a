"""What is left of a channel when its connection is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection, Queue

from runware_jobs.worker.app import survive_loss
from tests.support.own_broker import own_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture
def channel() -> Iterator[Any]:
    """A channel with a message in hand, whose connection and broker are gone."""
    with own_broker() as broker, Connection(broker.url) as connection:
        channel = connection.channel()
        queue = Queue("in-hand", channel=channel)
        queue.declare()
        connection.Producer(channel).publish({}, routing_key="in-hand")
        assert queue.get() is not None
        yield channel, connection, broker


def lose(channel: Any, connection: Connection, broker: Any) -> None:
    broker.stop()
    # As kombu leaves it when another error than this one met the loss first.
    channel._disconnect_pools()
    connection._do_close_transport()


def test_channel_with_a_message_in_hand_can_be_closed_after_the_broker_was_lost(channel: Any) -> None:
    survive_loss(channel[0])
    lose(*channel)
    channel[0].close()

    assert channel[0].closed


def test_kombu_alone_cannot_close_it(channel: Any) -> None:
    """The day this fails, `survive_loss` may go."""
    lose(*channel)
    with pytest.raises(AttributeError):
        channel[0].close()


def test_channels_of_other_transports_are_left_alone() -> None:
    survive_loss(object())
