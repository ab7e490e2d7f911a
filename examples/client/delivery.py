"""Async delivery is the default and suits everything. Sync saves the questions for what is done in seconds."""

import asyncio

from runware_jobs.client import RunOptions, Runware


async def main() -> None:
    async with Runware(poll_timeout=1_800_000) as client:  # half an hour, in milliseconds
        videos = await client.run(
            {"model": "google:3@3", "positivePrompt": "Ocean waves", "width": 1280, "height": 720},
            RunOptions(timeout=600_000),  # for this call: ten minutes
        )
        answers = await client.run(
            {
                "model": "google:gemma@4-31b",
                "messages": [{"role": "user", "content": "Hello"}],
                "deliveryMethod": "sync",
            }
        )
        print(videos[0]["videoURL"], answers[0]["text"])


asyncio.run(main())
