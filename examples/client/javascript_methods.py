"""The methods of the JavaScript SDK, for who comes from there."""

import asyncio
from typing import Any

from runware_jobs.client import Runware


def partly(images: list[dict[str, Any]], error: object) -> None:
    print(len(images), "arrived", error or "")


async def main() -> None:
    runware = await Runware.initialize(globalMaxRetries=2, timeoutDuration=60_000)
    try:
        await runware.ensure_connection()
        first, second = await asyncio.gather(
            runware.image_inference(
                {
                    "model": "runware:400@1",
                    "positivePrompt": "A harbour",
                    "width": 512,
                    "height": 512,
                    "numberResults": 2,
                    "onPartialImages": partly,
                }
            ),
            runware.request_images(
                model="runware:400@1", positivePrompt="A market", width=512, height=512, retry=3
            ),
        )
        bigger = await runware.upscale(inputImage=first[0]["imageURL"], upscaleFactor=2)
        cut_out = await runware.remove_background(inputImage=second[0]["imageURL"])
        told = await runware.caption(inputImage=first[0]["imageURL"])
        better = await runware.prompt_enhance(prompt="a harbour", promptVersions=2)
        print(bigger["imageURL"], cut_out["imageURL"], told["text"], len(better))
    finally:
        await runware.disconnect()


asyncio.run(main())
