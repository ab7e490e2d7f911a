"""Have a model fetched and stored, and hear of each phase."""

import asyncio
from typing import Any

from runware_jobs.client import Runware


def phase(item: dict[str, Any]) -> None:
    print(item["status"], item.get("air", ""))


async def main() -> None:
    async with Runware() as client:
        await client.model_upload(
            {
                "category": "checkpoint",
                "architecture": "sdxl",
                "format": "safetensors",
                "name": "Watercolour",
                "version": "1.0",
                "air": "acme:watercolour@1",
                "downloadURL": "https://example.com/watercolour.safetensors",
            },
            on_phase=phase,
        )


asyncio.run(main())
