// @runware/ai-sdk-provider under the Vercel AI SDK, told nothing but another address.
import { createRunware } from "@runware/ai-sdk-provider";

import images from "./ai_sdk_provider/images.mjs";
import failures from "./ai_sdk_provider/failures.mjs";
import { runAll } from "./harness.mjs";

// The provider tells each result as a warning, which the AI SDK would print among our lines.
globalThis.AI_SDK_LOG_WARNINGS = false;

function openTools(platform) {
  const connect = (options = {}) =>
    createRunware({ apiKey: platform.key, baseURL: platform.httpURL, ...options });
  return { platform, connect };
}

await runAll({ ...images, ...failures }, openTools);
