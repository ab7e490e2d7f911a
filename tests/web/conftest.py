"""The real application over ASGI or a socket, and jobs brought into states by plain SQL."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import orjson
import pytest
import uvicorn
from sqlalchemy import text

from runware_jobs.settings import Settings
from runware_jobs.store.keys import Scope, create_key
from runware_jobs.store.news import tell
from runware_jobs.web import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.support.servers import Servers

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}


@pytest.fixture
def settings(clean_database: str, services: Servers) -> Settings:
    return Settings(
        database_url=clean_database,
        broker_url=services.broker_url,
        secret_key="a key that only tests use",
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    made = create_app(settings, heartbeat_s=0.2)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def connect(app: FastAPI) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Make clients of the application; they say who they are as a socket and headers would."""
    async with contextlib.AsyncExitStack() as stack:

        def make(
            *, address: str = "127.0.0.1", key: str | None = None, base_url: str = "http://localhost:9400"
        ):
            transport = httpx.ASGITransport(app, client=(address, 50_000))
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            client = httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    """Serve the application on a real socket; its URL."""
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning", proxy_headers=False))
    serving = asyncio.create_task(server.serve())
    await started.wait()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
def client(connect: Callable[..., httpx.AsyncClient]) -> httpx.AsyncClient:
    """A program on this machine, while there are no keys."""
    return connect()


@pytest.fixture
def new_key(engine: AsyncEngine) -> Callable[..., Awaitable[str]]:
    """Make a key and give its token."""

    async def make(*scopes: Scope, tenant: str = "default") -> str:
        async with engine.begin() as connection:
            _, token = await create_key(
                connection, name="test", tenant=tenant, scopes=scopes or (Scope.ADMIN,)
            )
        return token

    return make


_TELL = """
WITH raised AS (UPDATE runware_jobs.job SET seq = seq + 1 WHERE id = :id RETURNING seq, run, tenant)
INSERT INTO runware_jobs.event (id, type, tenant, job_id, run, seq)
SELECT gen_random_uuid(), :type, tenant, :id, run, seq FROM raised
"""


class Jobs:
    """Brings jobs where a worker would bring them, with rows that belong together."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def succeed(self, job_id: str, *items: dict[str, Any]) -> None:
        task = await self._attempt(job_id, outcome="succeeded")
        for position, item in enumerate(
            items or ({"imageUUID": "i", "imageURL": "https://im.example/1.png"},)
        ):
            await self.run(
                "INSERT INTO runware_jobs.result (task_uuid, key, job_id, run, position, state, item)"
                " VALUES (:task, :position, :id, 1, :number, 'success', CAST(:item AS jsonb))",
                task=task,
                position=str(position),
                number=position,
                id=job_id,
                item=orjson.dumps(item).decode(),
            )
        await self._end(
            job_id,
            "job.succeeded",
            "UPDATE runware_jobs.job SET state = 'succeeded', finished_at = now(), submitted_at = now(),"
            " cost_usd = 0.0013, billing = 'billed', progress = 100 WHERE id = :id",
        )

    async def fail(self, job_id: str, *, billing: str = "none") -> None:
        await self._attempt(job_id, outcome="failed")
        await self._end(
            job_id,
            "job.failed",
            "UPDATE runware_jobs.job SET state = 'failed', finished_at = now(), billing = :billing,"
            """ error = '{"code": "safety", "message": "No.", "retryable": false}' WHERE id = :id""",
            billing=billing,
        )

    async def start(self, job_id: str, *, progress: int | None = None) -> None:
        await self.run(
            "UPDATE runware_jobs.job SET state = 'running', submitted_at = now(), progress = :progress WHERE id = :id",
            id=job_id,
            progress=progress,
        )
        await self.hint(job_id)

    async def tell(self, job_id: str, type_: str) -> None:
        await self.run(_TELL, id=job_id, type=type_)
        await self.hint(job_id)

    async def hint(self, job_id: str) -> None:
        """Say that there is news of the job, as a worker does after its commits."""
        async with self._autocommit.connect() as connection:
            await tell(connection, [UUID(job_id)])

    async def _end(self, job_id: str, type_: str, sql: str, **values: Any) -> None:
        """Write the end and its event in one transaction, as every move does."""
        async with self._engine.begin() as connection:
            await connection.execute(text(sql), {"id": job_id, **values})
            await connection.execute(text(_TELL), {"id": job_id, "type": type_})
        await self.hint(job_id)

    async def _attempt(self, job_id: str, *, outcome: str) -> str:
        task = str(uuid.uuid4())
        await self.run(
            "INSERT INTO runware_jobs.attempt (task_uuid, job_id, run, number, account_id, state, outcome,"
            " submitted_at, accepted_at, finished_at) SELECT :task, id, run, 1, account_id, 'ended', :outcome,"
            " now(), now(), now() FROM runware_jobs.job WHERE id = :id",
            task=task,
            outcome=outcome,
            id=job_id,
        )
        return task

    async def run(self, sql: str, **values: Any) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(sql), values)

    async def scalar(self, sql: str, **values: Any) -> Any:
        async with self._engine.begin() as connection:
            return (await connection.execute(text(sql), values)).scalar_one()


@pytest.fixture
def jobs(engine: AsyncEngine) -> Jobs:
    return Jobs(engine)


@pytest.fixture
def enqueue(client: httpx.AsyncClient) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Enqueue a job over HTTP and give its view."""

    async def add(**options: Any) -> dict[str, Any]:
        answer = await client.post("/v1/jobs", json={"params": PARAMS, **options})
        assert answer.status_code == 202, answer.text
        return answer.json()

    return add
