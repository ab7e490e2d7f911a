"""One lane per pytest process, for the short selection; `make chaos` opens its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.lane import Lane, open_lane

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Postgres, Valkey, an emulator, relays and a nursery of workers: none of them is another test's."""
    with open_lane(tmp_path_factory.mktemp("chaos")) as opened:
        yield opened
