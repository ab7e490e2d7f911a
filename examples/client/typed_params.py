"""Typed parameters: an editor completes them and a type checker refuses what does not exist."""

import asyncio
from typing import TYPE_CHECKING

from runware_jobs.client import Runware

if TYPE_CHECKING:
    from runware_jobs.client.types import SdxlArchParams


async def main() -> None:
    params: SdxlArchParams = {
        "model": "civitai:133005@782002",
        "taskType": "imageInference",
        "positivePrompt": "A professional headshot portrait",
        "negativePrompt": "blurry, distorted",
        "width": 1024,
        "height": 1024,
        "steps": 30,
        "scheduler": "DPMSolverMultistep",
    }
    async with Runware() as client:
        images = await client.run(params)
        print(images[0]["imageURL"])


asyncio.run(main())
