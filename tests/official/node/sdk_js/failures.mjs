// @runware/sdk-js when something goes wrong. Each scenario breaks a model that no other one uses.
import assert from "node:assert/strict";

import { failureOf } from "../harness.mjs";
import { LIGHTHOUSE } from "./tasks.mjs";

export default {
  async "a wrong parameter is named"({ connect }) {
    const { error } = await failureOf(connect().imageInference({ ...LIGHTHOUSE, width: 5 }));

    assert.equal(error.code, "invalidWidth");
    assert.equal(error.parameter, "width");
    assert.equal(error.taskType, "imageInference");
    assert.ok(error.message);
  },

  async "an unknown model is refused"({ connect }) {
    const { error } = await failureOf(
      connect().imageInference({ ...LIGHTHOUSE, model: "no such model" }),
    );

    assert.equal(error.parameter, "model");
  },

  async "a rejected key is refused"({ connect }) {
    const { error } = await failureOf(connect({ apiKey: "bad-key" }).imageInference(LIGHTHOUSE));

    assert.equal(error.code, "invalidApiKey");
  },

  async "an empty balance is refused"({ connect, platform }) {
    const { error } = await failureOf(
      connect({ url: platform.poorWsURL }).imageInference(LIGHTHOUSE),
    );

    assert.equal(error.code, "insufficientCredits");
  },

  async "a moderated image is told"({ connect, platform }) {
    const model = "runware:100@1";
    await platform.breakModel(model, { kind: "item_error", code: "contentPolicyViolation" });
    const { error } = await failureOf(connect().imageInference({ ...LIGHTHOUSE, model }));

    assert.equal(error.code, "contentPolicyViolation");
  },

  async "an answer that never comes is asked for again"({ connect, platform }) {
    const model = "runware:107@1";
    await platform.breakModel(model, { kind: "lose_answer", how: "silence" }, { count: 1 });
    const client = connect({ timeoutDuration: 5000 });
    const [image] = await client.imageInference({ ...LIGHTHOUSE, model, deliveryMethod: "async" });

    assert.ok(image.taskUUID);
  },

  async "a call survives its socket"({ connect, platform }) {
    const model = "runware:108@1";
    await platform.breakModel(model, "drop_socket", { count: 1 });
    const client = connect({ timeoutDuration: 5000 });
    const [image] = await client.imageInference({ ...LIGHTHOUSE, model });
    const [next] = await client.imageInference({ ...LIGHTHOUSE, model });

    assert.ok(image.imageURL);
    assert.ok(next.imageURL);
  },

  async "a socket that is closed politely is opened again"({ connect, platform }) {
    const model = "runware:111@1";
    await platform.breakModel(model, { kind: "drop_socket", code: 1000 }, { count: 1 });
    const client = connect({ timeoutDuration: 5000 });
    const [image] = await client.imageInference({ ...LIGHTHOUSE, model });

    assert.ok(image.imageURL);
  },
};
