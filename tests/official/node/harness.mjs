// Runs scenarios side by side and prints one line of JSON for each: {"scenario", "ok", "error"?}.
// Each has an organisation of its own, and breaks only what belongs to the model it names.
import { randomUUID } from "node:crypto";

const SCENARIO_WITHIN_MS = 45_000;

const [address, poorAddress] = process.argv.slice(2);

export async function runAll(scenarios, openTools) {
  await Promise.all(
    Object.entries(scenarios).map(async ([scenario, run]) => {
      const tools = openTools(new Platform(address, poorAddress));
      try {
        await within(run(tools), SCENARIO_WITHIN_MS);
        report({ scenario, ok: true });
      } catch (error) {
        report({ scenario, ok: false, error: describe(error) });
      } finally {
        await tools.close?.();
      }
    }),
  );
  // A client that keeps timers or a half-closed socket must not keep this process.
  process.exit(0);
}

// The emulator, as one scenario sees it.
export class Platform {
  constructor(address, poorAddress) {
    this.address = address;
    this.httpURL = `${address}/v1`;
    this.wsURL = `${address.replace("http://", "ws://")}/v1`;
    this.poorHttpURL = `${poorAddress}/v1`;
    this.poorWsURL = `${poorAddress.replace("http://", "ws://")}/v1`;
    this.key = `${randomUUID().slice(0, 8)}.key`;
  }

  // Adds a fault rule for the tasks of one model, which no other scenario uses.
  async breakModel(model, action, rule = {}) {
    const body = JSON.stringify({ on: "submit", model, action, ...rule });
    const response = await fetch(`${this.address}/_emulator/faults`, { method: "POST", body });
    if (!response.ok) throw new Error(await response.text());
  }

  // What the ledger knows of the tasks of a model.
  async tasksOf(model) {
    const ledger = await (await fetch(`${this.address}/_emulator/ledger`)).json();
    return Object.values(ledger.tasks).filter((task) => task.model === model);
  }
}

// The error that a call must end with.
export async function failureOf(call) {
  let value;
  try {
    value = await call;
  } catch (error) {
    return error;
  }
  throw new Error(`the call must fail; it gave ${JSON.stringify(value)}`);
}

export async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status} for ${url}`);
  return { type: response.headers.get("content-type"), bytes: await response.arrayBuffer() };
}

// A red pixel.
export const PICTURE =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

function report(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function describe(error) {
  return error instanceof Error ? `${error.stack}` : JSON.stringify(error);
}

function within(promise, milliseconds) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms`)), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
