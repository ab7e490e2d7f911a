// Where @runware/sdk-js 1.3.2 does not end well, and the platform is not to blame: see README.md.
import assert from "node:assert/strict";

import { failureOf, PICTURE } from "../harness.mjs";
import { LIGHTHOUSE } from "./tasks.mjs";

export default {
  async "differs: a full queue is never asked again"({ connect, platform }) {
    const model = "runware:400@2";
    await platform.breakModel(model, { kind: "status", status: 429 }, { count: 1 });
    const client = connect();
    const { error } = await failureOf(client.imageInference({ ...LIGHTHOUSE, model }));
    const [image] = await client.imageInference({ ...LIGHTHOUSE, model });

    assert.equal(error.code, "rateLimitExceeded");
    assert.ok(image.imageURL);
  },

  async "differs: what is asked for again is billed twice"({ connect, platform }) {
    const model = "runware:400@3";
    await platform.breakModel(model, { kind: "lose_answer", how: "reset" }, { count: 1 });
    await connect({ timeoutDuration: 5000 }).imageInference({ ...LIGHTHOUSE, model });
    const tasks = await platform.tasksOf(model);

    assert.equal(tasks.length, 2);
    assert.ok(tasks.every((task) => task.state === "success"));
  },

  async "differs: one moderated image of three is left out silently by the last attempt"({ connect, platform }) {
    const model = "runware:400@4";
    await platform.breakModel(model, {
      kind: "item_error",
      code: "contentPolicyViolation",
      items: [2],
    });
    const images = await connect().imageInference({
      ...LIGHTHOUSE,
      model,
      numberResults: 3,
      retry: 1,
    });

    assert.equal(images.length, 2);
  },

  async "differs: one moderated image of two fails the call"({ connect, platform }) {
    const model = "runware:400@5";
    await platform.breakModel(model, {
      kind: "item_error",
      code: "contentPolicyViolation",
      items: [1],
    });
    const { error } = await failureOf(
      connect().imageInference({ ...LIGHTHOUSE, model, numberResults: 2 }),
    );

    assert.equal(error.code, "contentPolicyViolation");
  },

  async "differs: a training is not waited for"({ connect }) {
    const submitted = await connect().training({
      model: "exactly:illustrative@training",
      inputs: { dataset: "https://studio.example/pictures.zip" },
      importModel: { air: "acme:oil@1", name: "Oil", uniqueIdentifier: "oil", version: "1" },
    });

    assert.ok([submitted].flat()[0].taskUUID);
    assert.equal([submitted].flat()[0].air, undefined);
  },

  async "differs: how a caption is to be delivered is not sent"({ connect }) {
    const caption = await connect().caption({
      model: "runware:150@2",
      inputs: { image: PICTURE },
      deliveryMethod: "async",
    });
    // On the same socket its answer could be taken for that of a poll: both come under the task's UUID.
    const details = await connect().getTaskDetails({ taskUUID: caption.taskUUID });

    assert.equal(details.request[0].deliveryMethod, undefined);
  },
};
