// Every method of @runware/sdk-js that makes something.
import assert from "node:assert/strict";

import { download, PICTURE } from "../harness.mjs";

export const LIGHTHOUSE = {
  model: "runware:400@1",
  positivePrompt: "a lighthouse",
  width: 256,
  height: 256,
};
const QUESTION = {
  model: "google:gemma@4-31b",
  messages: [{ role: "user", content: "Explain gravity" }],
};
// Small and short, because its film is really drawn.
const VIDEO = {
  model: "google:3@3",
  positivePrompt: "ocean waves",
  width: 640,
  height: 360,
  duration: 4,
};
const VOICE = {
  model: "alibaba:qwen@3-tts-1.7b-voicedesign",
  positivePrompt: "a calm, friendly voice",
  speech: { text: "Hello world", voice: "design" },
};

export default {
  async "image"({ connect }) {
    const [image] = await connect().imageInference({ ...LIGHTHOUSE, includeCost: true });

    assert.equal(image.taskType, "imageInference");
    assert.ok(image.imageUUID && image.cost > 0 && Number.isInteger(image.seed));
    assert.match((await download(image.imageURL)).type, /^image\//);
  },

  async "image by the older name"({ connect }) {
    const [image] = await connect().requestImages(LIGHTHOUSE);

    assert.ok(image.imageURL);
  },

  async "several images, shown as they come"({ connect }) {
    const shown = [];
    const images = await connect().imageInference({
      ...LIGHTHOUSE,
      numberResults: 4,
      onPartialImages: (some, error) => shown.push({ count: some.length, error }),
    });

    assert.equal(new Set(images.map((image) => image.imageUUID)).size, 4);
    assert.equal(new Set(images.map((image) => image.imageURL)).size, 4);
    assert.ok(shown.length >= 1);
    assert.ok(shown.every(({ error }) => !error));
    assert.ok(shown.reduce((sum, { count }) => sum + count, 0) >= 4);
  },

  async "two calls at once"({ connect }) {
    const client = connect();
    const [first, second] = await Promise.all([
      client.imageInference({ ...LIGHTHOUSE, numberResults: 2 }),
      client.imageInference({ ...LIGHTHOUSE, positivePrompt: "a harbour" }),
    ]);

    assert.equal(first.length, 2);
    assert.equal(second.length, 1);
    assert.notEqual(first[0].taskUUID, second[0].taskUUID);
  },

  async "image in base64"({ connect }) {
    const [image] = await connect().imageInference({
      ...LIGHTHOUSE,
      outputType: "base64Data",
      outputFormat: "PNG",
    });

    assert.ok(image.imageBase64Data.startsWith("iVBOR"));
  },

  async "image as data URI"({ connect }) {
    const [image] = await connect().imageInference({
      ...LIGHTHOUSE,
      outputType: "dataURI",
      outputFormat: "WEBP",
    });

    assert.ok(image.imageDataURI.startsWith("data:image/webp;base64,"));
  },

  async "image from an image"({ connect }) {
    const [image] = await connect().imageInference({
      ...LIGHTHOUSE,
      model: "runware:101@1",
      seedImage: PICTURE,
      strength: 0.7,
    });

    assert.ok(image.imageURL);
  },

  async "image delivered async"({ connect }) {
    const client = connect();
    const [submitted] = await client.imageInference({ ...LIGHTHOUSE, deliveryMethod: "async" });
    let items = [];
    while (items[0]?.status !== "success") {
      items = await client.getResponse({ taskUUID: submitted.taskUUID });
    }

    assert.equal(items[0].taskUUID, submitted.taskUUID);
    assert.ok(items[0].imageURL);
  },

  async "video"({ connect }) {
    const [video] = [await connect().videoInference(VIDEO)].flat();

    assert.equal((await download(video.videoURL)).type, "video/mp4");
  },

  async "several videos"({ connect }) {
    const videos = await connect().videoInference({ ...VIDEO, numberResults: 2 });

    assert.equal(new Set(videos.map((video) => video.videoUUID)).size, 2);
  },

  async "video picked up later"({ connect }) {
    const client = connect();
    const submitted = await client.videoInference({ ...VIDEO, skipResponse: true });
    let items = [];
    while (items[0]?.status !== "success") {
      items = await client.getResponse({ taskUUID: [submitted].flat()[0].taskUUID });
    }

    assert.equal([submitted].flat()[0].videoURL, undefined);
    assert.ok(items[0].videoURL);
  },

  async "audio"({ connect }) {
    const audio = [await connect().audioInference(VOICE)].flat();

    assert.match((await download(audio[0].audioURL)).type, /^audio\//);
  },

  async "audio delivered async"({ connect }) {
    const audio = await connect().audioInference({
      ...VOICE,
      numberResults: 2,
      deliveryMethod: "async",
    });

    assert.equal(new Set(audio.map((one) => one.audioUUID)).size, 2);
  },

  async "text"({ connect }) {
    const answer = [await connect().textInference({ ...QUESTION, includeUsage: true })].flat()[0];

    assert.ok(answer.text.length > 10);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.totalTokens > 0);
  },

  async "text delivered async"({ connect }) {
    const answer = await connect().textInference({ ...QUESTION, deliveryMethod: "async" });

    assert.ok([answer].flat()[0].text.length > 10);
  },

  async "3D"({ connect }) {
    const result = await connect().threeDInference({
      model: "tencent:hunyuan-3d@3.1-rapid",
      positivePrompt: "a teapot",
      deliveryMethod: "async",
    });

    assert.match((await download([result].flat()[0].outputs.files[0].url)).type, /gltf/);
  },

  async "caption of an image"({ connect }) {
    const caption = await connect().caption({ inputImage: PICTURE });

    assert.ok(caption.text);
  },

  async "caption of a video"({ connect }) {
    const client = connect();
    const [video] = [await client.videoInference(VIDEO)].flat();
    const caption = await client.caption({
      model: "memories:1@1",
      inputs: { video: video.videoURL },
    });

    assert.ok(caption.text);
  },

  async "background removal"({ connect }) {
    const image = await connect().removeBackground({ model: "runware:109@1", inputImage: PICTURE });

    assert.ok(image.imageURL ?? image.mediaURL);
  },

  async "background removal of inputs, delivered async"({ connect }) {
    const image = await connect().removeBackground({
      model: "runware:109@1",
      inputs: { image: PICTURE },
      deliveryMethod: "async",
    });

    assert.ok([image].flat()[0].mediaURL ?? [image].flat()[0].imageURL);
  },

  async "upscale"({ connect }) {
    const image = await connect().upscale({ inputImage: PICTURE, upscaleFactor: 2 });

    assert.ok(image.imageURL ?? image.mediaURL);
  },

  async "upscale of inputs"({ connect }) {
    const image = await connect().upscale({
      model: "runware:504@1",
      inputs: { image: PICTURE },
      upscaleFactor: 4,
    });

    assert.ok(image.mediaURL ?? image.imageURL);
  },

  async "controlnet preprocess"({ connect }) {
    const guide = await connect().controlNetPreprocess({
      inputImage: PICTURE,
      preProcessorType: "canny",
    });

    assert.ok([guide].flat()[0].guideImageUUID);
    assert.ok([guide].flat()[0].guideImageURL);
  },

  async "masking"({ connect }) {
    const mask = await connect().imageMasking({ model: "runware:35@1", inputImage: PICTURE });

    assert.ok(mask.maskImageUUID && mask.maskImageURL);
  },

  async "vectorize"({ connect }) {
    const vector = await connect().vectorize({
      model: "picsart:1@1",
      inputs: { image: PICTURE },
      outputFormat: "SVG",
    });

    assert.match((await download(vector.imageURL)).type, /svg/);
  },

  async "prompt enhance in three versions"({ connect }) {
    const versions = await connect().promptEnhance({ prompt: "a lighthouse", promptVersions: 3 });

    assert.equal(versions.length, 3);
    assert.equal(new Set(versions.map((version) => version.text)).size, 3);
  },

  async "photo maker"({ connect }) {
    const images = await connect().photoMaker({
      positivePrompt: "a rwre portrait",
      width: 512,
      height: 512,
      numberResults: 2,
      inputImages: [PICTURE],
      style: "Cinematic",
    });

    assert.equal(images.length, 2);
    assert.equal(images[0].taskType, "photoMaker");
  },

  async "training, waited for"({ connect }) {
    const trained = await connect().training({
      model: "exactly:illustrative@training",
      inputs: { dataset: "https://studio.example/pictures.zip" },
      importModel: { air: "acme:pastel@1", name: "Pastel", uniqueIdentifier: "pastel", version: "1" },
      skipResponse: false,
    });

    assert.equal([trained].flat()[0].air, "acme:pastel@1");
  },
};
