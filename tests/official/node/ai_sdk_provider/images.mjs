// The provider makes images, and only images.
import assert from "node:assert/strict";

import { experimental_generateImage, generateImage, NoSuchModelError } from "ai";

import { PICTURE } from "../harness.mjs";

const PNG = "iVBOR";
const LIGHTHOUSE = { prompt: "a lighthouse", size: "256x256" };

export default {
  async "image"({ connect }) {
    const { image, warnings } = await generateImage({
      model: connect().image("runware:400@1"),
      ...LIGHTHOUSE,
    });

    assert.ok(image.base64.startsWith(PNG));
    assert.equal(image.mediaType, "image/png");
    assert.ok(warnings[0].message.includes("imageUUID"));
  },

  async "image by the older names"({ connect }) {
    const { image } = await experimental_generateImage({
      model: connect().imageModel("runware:400@1"),
      ...LIGHTHOUSE,
    });

    assert.ok(image.uint8Array.length > 1000);
  },

  async "image of the default size"({ connect }) {
    const { image } = await generateImage({
      model: connect().image("runware:400@1"),
      prompt: "a lighthouse",
    });

    assert.deepEqual(sizeOf(image), [512, 512]);
  },

  async "image of the size that was asked for"({ connect }) {
    const { image } = await generateImage({
      model: connect().image("runware:400@1"),
      prompt: "a lighthouse",
      size: "512x256",
    });

    assert.deepEqual(sizeOf(image), [512, 256]);
  },

  async "same seed, same image"({ connect }) {
    const model = connect().image("runware:400@1");
    const [one, two, other] = await Promise.all(
      [7, 7, 8].map((seed) => generateImage({ model, ...LIGHTHOUSE, seed })),
    );

    assert.equal(one.image.base64, two.image.base64);
    assert.notEqual(one.image.base64, other.image.base64);
  },

  async "several images in one call"({ connect }) {
    const { images, responses } = await generateImage({
      model: connect().image("runware:400@1", { maxImagesPerCall: 4 }),
      ...LIGHTHOUSE,
      n: 4,
    });

    assert.equal(new Set(images.map((image) => image.base64)).size, 4);
    assert.equal(responses.length, 1);
  },

  async "several images in a call each"({ connect }) {
    const { images, responses } = await generateImage({
      model: connect().image("runware:400@1"),
      ...LIGHTHOUSE,
      n: 3,
    });

    assert.equal(images.length, 3);
    assert.equal(responses.length, 3);
  },

  async "image in base64"({ connect }) {
    const { image } = await generateImage({
      model: connect().image("runware:400@1", { outputType: "base64Data" }),
      ...LIGHTHOUSE,
    });

    assert.ok(image.base64.startsWith(PNG));
  },

  async "image as data URI in another format"({ connect }) {
    const { image } = await generateImage({
      model: connect().image("runware:400@1", { outputType: "dataURI", outputFormat: "WEBP" }),
      ...LIGHTHOUSE,
    });

    assert.equal(image.mediaType, "image/webp");
  },

  async "image with every setting of the model"({ connect }) {
    const { warnings } = await generateImage({
      model: connect().image("runware:101@1", {
        outputFormat: "JPG",
        outputQuality: 90,
        checkNSFW: true,
        includeCost: true,
        steps: 30,
        scheduler: "Euler Beta",
        CFGScale: 7.5,
      }),
      ...LIGHTHOUSE,
    });
    const [item] = JSON.parse(warnings[0].message.slice(warnings[0].message.indexOf("[")));

    assert.equal(item.NSFWContent, false);
    assert.ok(item.cost > 0);
  },

  async "image from an image"({ connect }) {
    const { image } = await generateImage({
      model: connect().image("runware:101@1"),
      ...LIGHTHOUSE,
      providerOptions: { runware: { seedImage: PICTURE, strength: 0.7, steps: 20 } },
    });

    assert.ok(image.base64.startsWith(PNG));
  },

  async "there is no model of another kind"({ connect }) {
    for (const kind of ["languageModel", "embeddingModel"]) {
      assert.throws(() => connect()[kind]("google:gemma@4-31b"), NoSuchModelError.isInstance);
    }
  },
};

// Width and height stand at a fixed place of a PNG.
function sizeOf(image) {
  const view = new DataView(image.uint8Array.buffer, image.uint8Array.byteOffset);
  return [view.getUint32(16), view.getUint32(20)];
}
