"""Bring your own HTTP client: a proxy, certificates, limits. It stays yours to close."""

import asyncio

import httpx

from runware_jobs.client import RuntimeDependencies, Runware


async def main() -> None:
    async with (
        httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=20)) as session,
        Runware(transport="rest", dependencies=RuntimeDependencies(session=session)) as client,
    ):
        images = await client.run(
            {"model": "runware:400@1", "positivePrompt": "A bridge", "width": 1024, "height": 1024}
        )
        print(images[0]["imageURL"])


asyncio.run(main())
