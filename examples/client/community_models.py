"""A model of your own, or of the community: no registry knows it, so `taskType` says what it does."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        images = await client.run(
            {
                "model": "runware:exactly-illustrative@my-trained-style",
                "taskType": "imageInference",
                "positivePrompt": "A lighthouse on a rocky cliff at twilight",
                "width": 1024,
                "height": 1024,
            }
        )
        print(images[0]["imageURL"])


asyncio.run(main())
