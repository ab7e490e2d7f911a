"""A curated model by its catalogue slug; the AIR goes over the wire."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        for model in ("runware:400@1", "bfl-flux-2-dev"):
            images = await client.run(
                {"model": model, "positivePrompt": "A red kite", "width": 1024, "height": 1024}
            )
            print(images[0]["imageURL"])


asyncio.run(main())
