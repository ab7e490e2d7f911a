"""Pictures from this machine: by path in a media parameter, or encoded by hand."""

import asyncio
import sys
from pathlib import Path

from runware_jobs.client import Runware, file_to_data_uri


async def main(photo: Path) -> None:
    async with Runware() as client:
        uploaded = await client.image_upload({"image": file_to_data_uri(photo)})
        print(uploaded)

        drawn_over = await client.run(
            {
                "model": "civitai:133005@782002",
                "taskType": "imageInference",
                "positivePrompt": "The same in watercolour",
                "seedImage": str(photo),  # read and sent, since it stands in a media parameter
                "strength": 0.6,
                "width": 512,
                "height": 512,
            }
        )
        print(drawn_over[0]["imageURL"])


asyncio.run(main(Path(sys.argv[1])))
