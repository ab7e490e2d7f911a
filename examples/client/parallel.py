"""Many tasks at once on one client; their questions to the platform are asked together."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        photo = await client.run(
            {"model": "runware:400@1", "positivePrompt": "A fox", "width": 512, "height": 512}
        )
        images, upscaled, caption = await asyncio.gather(
            client.run(
                {
                    "model": "runware:400@1",
                    "positivePrompt": "Abstract art",
                    "width": 1024,
                    "height": 1024,
                    "numberResults": 3,
                }
            ),
            client.run(
                {
                    "model": "runware:504@1",
                    "taskType": "upscale",
                    "inputs": {"image": photo[0]["imageURL"]},
                }
            ),
            client.run(
                {
                    "model": "runware:150@2",
                    "taskType": "caption",
                    "inputs": {"image": photo[0]["imageURL"]},
                }
            ),
        )
        print(len(images), upscaled[0]["imageURL"], caption[0]["text"])


asyncio.run(main())
