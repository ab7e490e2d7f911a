// The provider when something goes wrong. Each scenario breaks a model that no other one uses.
import assert from "node:assert/strict";

import { APICallError, generateImage } from "ai";

import { failureOf } from "../harness.mjs";

const LIGHTHOUSE = { prompt: "a lighthouse", size: "256x256" };

export default {
  async "a wrong parameter is refused"({ connect }) {
    const error = await failureOf(
      generateImage({
        model: connect().image("runware:400@1"),
        ...LIGHTHOUSE,
        providerOptions: { runware: { numberResults: 0 } },
      }),
    );

    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 400);
    assert.equal(error.isRetryable, false);
    assert.equal(JSON.parse(error.responseBody).errors[0].parameter, "numberResults");
  },

  async "an unknown model is refused"({ connect }) {
    const error = await failureOf(
      generateImage({ model: connect().image("no such model"), ...LIGHTHOUSE }),
    );

    assert.equal(error.statusCode, 400);
    assert.equal(JSON.parse(error.responseBody).errors[0].parameter, "model");
  },

  async "a rejected key is refused"({ connect }) {
    const error = await failureOf(
      generateImage({
        model: connect({ apiKey: "bad-key" }).image("runware:400@1"),
        ...LIGHTHOUSE,
      }),
    );

    assert.equal(error.statusCode, 401);
    assert.equal(JSON.parse(error.responseBody).errors[0].code, "invalidApiKey");
  },

  async "an empty balance is refused"({ connect, platform }) {
    const error = await failureOf(
      generateImage({
        model: connect({ baseURL: platform.poorHttpURL }).image("runware:400@1"),
        ...LIGHTHOUSE,
      }),
    );

    assert.equal(error.statusCode, 402);
  },

  async "a full queue is waited out"({ connect, platform }) {
    const model = "runware:107@1";
    await platform.breakModel(model, { kind: "status", status: 429, retry_after: 1 }, { count: 1 });
    const { image } = await generateImage({ model: connect().image(model), ...LIGHTHOUSE });
    const tasks = await platform.tasksOf(model);

    assert.ok(image.base64);
    assert.deepEqual(tasks.map((task) => task.accepted).sort(), [0, 1]);
  },

  async "a gateway that answers in HTML is asked again"({ connect, platform }) {
    const model = "runware:108@1";
    await platform.breakModel(model, { kind: "status", status: 502 }, { count: 1 });
    const { image } = await generateImage({ model: connect().image(model), ...LIGHTHOUSE });

    assert.ok(image.base64);
  },

  async "a broken connection is made anew"({ connect, platform }) {
    const model = "runware:111@1";
    await platform.breakModel(model, "reset", { count: 1 });
    const { image } = await generateImage({ model: connect().image(model), ...LIGHTHOUSE });

    assert.ok(image.base64);
  },

  async "a call is cancelled"({ connect, platform }) {
    const model = "runware:5@1";
    await platform.breakModel(model, "stuck");
    const cancel = new AbortController();
    const call = generateImage({
      model: connect().image(model),
      ...LIGHTHOUSE,
      abortSignal: cancel.signal,
    });
    while ((await platform.tasksOf(model)).length === 0);
    cancel.abort();

    assert.equal((await failureOf(call)).name, "AbortError");
  },

  async "patience ends"({ connect, platform }) {
    const model = "runware:102@1";
    await platform.breakModel(model, "stuck");
    const error = await failureOf(
      generateImage({
        model: connect().image(model),
        ...LIGHTHOUSE,
        abortSignal: AbortSignal.timeout(500),
      }),
    );

    assert.equal(error.name, "TimeoutError");
  },

  async "a moderated image is refused"({ connect, platform }) {
    const model = "runware:400@2";
    await platform.breakModel(model, { kind: "item_error", code: "contentPolicyViolation" });
    const error = await failureOf(generateImage({ model: connect().image(model), ...LIGHTHOUSE }));

    assert.equal(JSON.parse(error.responseBody).errors[0].code, "contentPolicyViolation");
  },

  async "differs: one moderated image of two is left out silently"({ connect, platform }) {
    const model = "runware:400@3";
    await platform.breakModel(model, {
      kind: "item_error",
      code: "contentPolicyViolation",
      items: [1],
    });
    const { images } = await generateImage({
      model: connect().image(model, { maxImagesPerCall: 2 }),
      ...LIGHTHOUSE,
      n: 2,
    });

    assert.equal(images.length, 1);
  },

  async "differs: the reason of a refusal is not in its message"({ connect }) {
    const error = await failureOf(
      generateImage({ model: connect().image("no such model"), ...LIGHTHOUSE }),
    );

    assert.equal(error.message, "Unknown Runware API error");
  },

  async "differs: what is delivered async is not understood"({ connect }) {
    const error = await failureOf(
      generateImage({
        model: connect().image("runware:400@1"),
        ...LIGHTHOUSE,
        providerOptions: { runware: { deliveryMethod: "async" } },
      }),
    );

    assert.equal(error.message, "Invalid JSON response");
  },

  async "differs: an image that is sent again is made and billed twice"({ connect, platform }) {
    const model = "runware:400@4";
    await platform.breakModel(model, { kind: "lose_answer", how: "status" }, { count: 1 });
    await generateImage({ model: connect().image(model), ...LIGHTHOUSE });
    const tasks = await platform.tasksOf(model);

    assert.deepEqual(tasks.map((task) => task.state), ["success", "success"]);
  },
};
