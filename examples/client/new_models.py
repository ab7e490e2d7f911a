"""A model that was launched a minute ago: fetch the registry now instead of in the next five minutes."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        await client.refresh_registry()
        results = await client.run(
            {"model": "runware:400@1", "positivePrompt": "A comet", "width": 1024, "height": 1024}
        )
        print(results[0]["imageURL"])


asyncio.run(main())
