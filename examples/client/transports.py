"""The same over a WebSocket (the default: one connection for many requests) and over plain HTTP."""

import asyncio

from runware_jobs.client import Runware

LANDSCAPE = {
    "model": "runware:400@1",
    "positivePrompt": "A landscape painting",
    "width": 1024,
    "height": 1024,
}


async def main() -> None:
    async with Runware(transport="websocket") as client:
        images = await client.run(LANDSCAPE)
        videos = await client.run(
            {"model": "google:3@3", "positivePrompt": "Ocean waves", "width": 1280, "height": 720}
        )
        print("websocket", images[0]["imageURL"], videos[0]["videoURL"])

    async with Runware(transport="rest") as client:
        images = await client.run(LANDSCAPE)
        print("rest", images[0]["imageURL"])


asyncio.run(main())
