"""A receiver of signed webhooks: `WEBHOOK_SECRET=whsec_... uvicorn webhook_receiver:app`."""

import os

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

app = FastAPI()
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()


@app.post("/hooks")
async def receive(request: Request) -> dict[str, str]:
    try:
        event = webhook.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError as error:
        raise HTTPException(400, "not signed by us") from error
    if event["id"] not in seen:  # delivered at least once: the id is stable
        seen.add(event["id"])
        print(event["type"], event["job_id"], event["data"].get("cost_usd"))
    return {"status": "ok"}
