// What @runware/sdk-js asks the platform beside making things.
import assert from "node:assert/strict";

import { download, failureOf, PICTURE } from "../harness.mjs";
import { LIGHTHOUSE } from "./tasks.mjs";

export default {
  async "image upload"({ connect }) {
    const client = connect();
    const uploaded = await client.imageUpload({ image: PICTURE });
    const caption = await client.caption({ inputImage: uploaded.imageUUID });

    assert.equal((await download(uploaded.imageURL)).type, "image/png");
    assert.ok(caption.text);
  },

  async "media storage"({ connect }) {
    const client = connect();
    const stored = await client.mediaStorage({ media: PICTURE });
    const deleted = await client.mediaStorage({ media: stored.mediaUUID, operation: "delete" });

    assert.equal(deleted.mediaUUID, stored.mediaUUID);
  },

  async "model search"({ connect }) {
    const found = await connect().modelSearch({ search: "flux", limit: 5 });

    assert.equal(found.results.length, 5);
    assert.ok(found.totalResults >= 5);
  },

  async "model upload in all its phases"({ connect }) {
    const phases = [];
    const uploaded = await connect().modelUpload({
      category: "lora",
      architecture: "sdxl",
      format: "safetensors",
      air: "acme:pastel-lora@1",
      name: "Pastel",
      uniqueIdentifier: "a".repeat(64),
      version: "1",
      downloadURL: "https://studio.example/pastel.safetensors",
      private: true,
      defaultWeight: 1,
      onUploadStream: (response, error) => phases.push(error?.code ?? response.status),
    });

    assert.equal(uploaded.status, "ready");
    assert.equal(uploaded.air, "acme:pastel-lora@1");
    assert.deepEqual(phases, ["validated", "downloaded", "optimized", "stored", "ready"]);
  },

  async "task details"({ connect }) {
    const client = connect();
    const [image] = await client.imageInference(LIGHTHOUSE);
    const details = await client.getTaskDetails({ taskUUID: image.taskUUID });

    assert.equal(details.request[0].positivePrompt, "a lighthouse");
    assert.ok(JSON.stringify(details.response).includes(image.imageURL));
  },

  async "dry run"({ connect, platform }) {
    const model = "runware:z-image@0";
    const wrong = await failureOf(
      connect({ dryRun: true }).imageInference({ ...LIGHTHOUSE, model, width: 5 }),
    );
    const [answer] = await connect({ dryRun: true }).imageInference({
      ...LIGHTHOUSE,
      model,
      includeCost: true,
    });
    const tasks = await platform.tasksOf(model);

    assert.equal(wrong.error.parameter, "width");
    assert.ok(answer.cost > 0);
    assert.equal(answer.imageURL, undefined);
    assert.ok(tasks.every((task) => task.accepted === 0));
  },

  async "request and duration on demand"({ connect }) {
    const [image] = await connect().imageInference({
      ...LIGHTHOUSE,
      includePayload: true,
      includeGenerationTime: true,
    });

    assert.equal(image.additionalResponse.payload.positivePrompt, "a lighthouse");
    assert.ok(image.additionalResponse.generationTime >= 0);
  },
};
