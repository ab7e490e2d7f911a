"""Train a style and use it. It takes about two hours: for a training that outlives its process, use the queue."""

import asyncio
import sys

from runware_jobs.client import RunOptions, Runware


async def main(dataset: str) -> None:
    async with Runware() as client:
        trained = await client.run(
            {
                "model": "exactly:illustrative@training",
                "inputs": {"dataset": dataset},
                "importModel": {"air": "runware:exactly-illustrative@my-trained-style", "name": "My style"},
            },
            RunOptions(timeout=4 * 3_600_000, on_progress=lambda item: print(f"{item['progress']}%")),
        )
        images = await client.run(
            {
                "model": trained[0]["air"],
                "taskType": "imageInference",
                "positivePrompt": "A lighthouse on a rocky cliff at twilight",
                "width": 1024,
                "height": 1024,
            }
        )
        print(trained[0]["air"], images[0]["imageURL"])


asyncio.run(main(sys.argv[1]))
