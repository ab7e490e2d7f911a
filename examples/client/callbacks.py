"""Hear of each result as it comes, and of the progress of a long task."""

import asyncio
from typing import Any

from runware_jobs.client import RunOptions, Runware


def watch(item: dict[str, Any]) -> None:
    if item.get("status") == "error":
        print("failed:", item.get("error"))
    else:
        print("ready:", item.get("videoURL"))


def progress(item: dict[str, Any]) -> None:
    print(f"{item.get('progress')}%")


async def main() -> None:
    async with Runware() as client:
        results = await client.run(
            {
                "model": "google:3@3",
                "positivePrompt": "Ocean waves",
                "width": 1280,
                "height": 720,
                "numberResults": 3,
            },
            RunOptions(on_result=watch, on_progress=progress),
        )
        print(len(results), "videos")


asyncio.run(main())
