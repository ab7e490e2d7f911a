"""An image in five lines. The key comes from the environment variable RUNWARE_API_KEY."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        results = await client.run(
            {
                "model": "runware:400@1",
                "positivePrompt": "A serene mountain landscape at sunset",
                "width": 1024,
                "height": 1024,
            }
        )
        print(results[0]["imageURL"])


asyncio.run(main())
