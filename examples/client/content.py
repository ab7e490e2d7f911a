"""What can it do and what does it cost: the catalogue, open to everybody and free."""

import asyncio

from runware_jobs.client import Runware


async def main() -> None:
    async with Runware() as client:
        models = await client.content.list_models(
            {
                "capability": "io:text-to-image",
                "category": "image",
                "creator": "black-forest-labs",
                "search": "flux",
            }
        )
        print(len(models), "image models of Black Forest Labs")

        model = await client.content.get_model("alibaba-z-image-turbo")
        examples = await client.content.get_model_examples("flux-1-dev")
        pricing = await client.content.get_model_pricing("flux-1-dev")
        print(model, len(examples), pricing)

        capabilities = await client.content.list_capabilities()
        collections = await client.content.list_collections({"category": "image"})
        creators = await client.content.list_creators()
        google = await client.content.get_creator("google")
        print(len(capabilities), len(collections), len(creators), google)

        page = await client.content.list_models({"paginate": True, "limit": 25, "offset": 0})
        print(page["total"], len(page["items"]))


asyncio.run(main())
