"""Search, upload, account and archive."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        models = await client.model_search(
            {"search": "portrait", "category": "checkpoint", "architecture": "sdxl", "limit": 10}
        )
        account = await client.account_management({"operation": "getDetails"})
        images = await client.run(
            {"model": "runware:400@1", "positivePrompt": "A fox", "width": 512, "height": 512}
        )
        uploaded = await client.image_upload({"image": images[0]["imageURL"]})
        archived = await client.get_task_details({"taskUUID": images[0]["taskUUID"]})
        print(models, account, uploaded, archived, sep="\n")


asyncio.run(main())
