// @runware/sdk-js: every scenario on a client of its own, told nothing but another address.
import { Runware } from "@runware/sdk-js";

import { runAll } from "./harness.mjs";
import differences from "./sdk_js/differences.mjs";
import failures from "./sdk_js/failures.mjs";
import tasks from "./sdk_js/tasks.mjs";
import utilities from "./sdk_js/utilities.mjs";

function openTools(platform) {
  const opened = [];
  const connect = (options = {}) => {
    const client = new Runware({ apiKey: platform.key, url: platform.wsURL, ...options });
    opened.push(client);
    return client;
  };
  const close = () => Promise.allSettled(opened.map((client) => client.disconnect()));
  return { platform, connect, close };
}

await runAll({ ...tasks, ...utilities, ...failures, ...differences }, openTools);
