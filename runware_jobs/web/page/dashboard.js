// Asks for the overview every two seconds while the page is looked at, and draws it.
// Text from jobs is only ever set as text: nothing of a job becomes markup.

const EVERY_MS = 2000;
const AFTER_ERROR_MS = 8000;
const KEY = "runware-jobs-key";
const FINAL = new Set(["succeeded", "failed", "canceled"]);
const BAR_ORDER = ["succeeded", "failed", "canceled", "running", "submitting", "queued"];

const find = (id) => document.getElementById(id);
let timer = null;
let seenAt = null;
let wasRefused = false;

function make(tag, { text, className, state, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  if (state) element.dataset.state = state;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

async function refresh() {
  clearTimeout(timer);
  let again = EVERY_MS;
  try {
    const key = sessionStorage.getItem(KEY);
    const answer = await fetch("/dashboard/overview", {
      headers: key ? { Authorization: `Bearer ${key}` } : {},
      cache: "no-store",
    });
    if (answer.status === 401) {
      sessionStorage.removeItem(KEY);
      wasRefused ||= Boolean(key);
      // Perhaps the server asks for none any more: try without, then ask.
      if (key) refresh();
      else askForKey();
      return;
    }
    wasRefused = false;
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail);
    draw(body);
    seenAt = Date.now();
    find("freshness").classList.remove("stale");
  } catch (error) {
    find("freshness").classList.add("stale");
    find("freshness").textContent = error instanceof TypeError ? "the server does not answer" : error.message;
    again = AFTER_ERROR_MS;
  }
  if (!document.hidden) timer = setTimeout(refresh, again);
}

function askForKey() {
  find("refused").hidden = !wasRefused;
  find("sign-in").hidden = false;
  find("content").hidden = true;
  find("tenant").hidden = find("forget").hidden = true;
  find("freshness").textContent = "not signed in";
  find("freshness").classList.add("stale");
  find("key").focus();
}

function draw(overview) {
  find("sign-in").hidden = true;
  find("content").hidden = false;
  find("forget").hidden = !sessionStorage.getItem(KEY);
  find("tenant").hidden = false;
  find("tenant").textContent = overview.tenant ?? "all tenants";
  find("freshness").textContent = "live";
  drawStates(overview.counts);
  find("batches-section").hidden = overview.batches.length === 0;
  find("batches").replaceChildren(...overview.batches.map(batchCard));
  const rows = find("jobs").tBodies[0];
  const known = new Map([...rows.rows].map((row) => [row.dataset.job, row]));
  rows.replaceChildren(...overview.jobs.map((job) => jobRow(job, known.get(job.id), overview.tenant === null)));
  find("jobs").hidden = overview.jobs.length === 0;
  find("empty").hidden = overview.jobs.length > 0;
}

function drawStates(counts) {
  find("states").replaceChildren(
    ...Object.entries(counts).map(([state, count]) =>
      make(
        "div",
        { className: count ? "state" : "state none", state },
        make("b", { text: count.toLocaleString() }),
        make("span", { text: state }),
      ),
    ),
  );
}

function batchCard(batch) {
  const bar = make("div", { className: "bar", title: countsText(batch.counts) });
  for (const state of BAR_ORDER) {
    if (!batch.counts[state]) continue;
    const part = make("i", { state });
    part.style.flexGrow = batch.counts[state];
    bar.append(part);
  }
  const paused = batch.state === "paused";
  const percent = batch.total ? Math.floor((100 * batch.finished) / batch.total) : 0;
  const ended = ["failed", "canceled"]
    .filter((state) => batch.counts[state])
    .map((state) => `, ${batch.counts[state].toLocaleString()} ${state}`)
    .join("");
  const spent = batch.cost_usd === null && !batch.budget_usd ? "" : cents(batch.cost_usd ?? "0");
  const money = batch.budget_usd ? `${spent} of ${cents(batch.budget_usd)}` : spent;
  return make(
    "div",
    { className: "batch" },
    make(
      "p",
      {},
      make("span", { className: "name", text: batch.name || batch.id.slice(0, 8), title: batch.id }),
      make("span", {
        className: paused ? "side paused" : "side",
        text: paused ? `paused: ${batch.pause_reason}` : batch.state === "open" ? `${percent} %` : batch.state,
      }),
    ),
    bar,
    make(
      "p",
      { className: "foot" },
      make("span", { text: `${batch.finished.toLocaleString()} of ${batch.total.toLocaleString()}${ended}` }),
      make("span", { className: "side", text: money }),
    ),
  );
}

function jobRow(job, before, withTenant) {
  const row = make("tr", { "data-job": job.id });
  row.append(
    make("td", { className: "picture" }, picture(job, before)),
    make("td", { className: "what" }, ...what(job, withTenant)),
    make("td", {}, make("span", { className: "pill", state: job.state, text: job.state })),
    make("td", {}, progress(job)),
    make("td", { className: "number", text: dollars(job.cost_usd) }),
    make("td", { className: "number", text: took(job) }),
    make("td", { className: "number", text: ago(job.created_at), title: job.created_at }),
  );
  return row;
}

function picture(job, before) {
  // An image that is there already is kept: a new element would flicker.
  const old = before?.querySelector(".thumbnail");
  if (old && (old.getAttribute("href") ?? "") === (job.thumbnail ?? "")) return old;
  if (!job.thumbnail) {
    return make("span", { className: "thumbnail", text: job.lane, "aria-hidden": "true" });
  }
  const image = make("img", { src: job.thumbnail, alt: "", loading: "lazy", referrerpolicy: "no-referrer" });
  const link = make(
    "a",
    { className: "thumbnail", href: job.thumbnail, target: "_blank", rel: "noopener noreferrer" },
    image,
  );
  link.setAttribute("aria-label", "Open the first result");
  image.addEventListener("error", () => image.replaceWith(document.createTextNode("expired")));
  return link;
}

function what(job, withTenant) {
  const title = job.prompt || job.task_type || job.kind;
  const parts = [job.model || job.task_type, job.custom_id, job.run > 1 ? `run ${job.run}` : null];
  if (withTenant) parts.push(job.tenant);
  if (job.results > 1) parts.push(`${job.results} results`);
  if (job.billing === "unclear" || job.billing === "detached") parts.push(`billing ${job.billing}`);
  const lines = [make("div", { text: title, title })];
  if (job.error) {
    const message = `${job.error.code}: ${job.error.message}`;
    lines.push(make("div", { className: "problem", text: message, title: message }));
  }
  const id = make("span", { className: "id", text: job.id.slice(-8), title: job.id });
  lines.push(make("div", { className: "small" }, [...parts.filter(Boolean), ""].join(" · "), id));
  return lines;
}

function progress(job) {
  if (FINAL.has(job.state)) return "";
  if (job.state === "scheduled" || job.state === "queued") {
    return make("span", { className: "small", text: job.eta_at ? `expected ${until(job.eta_at)}` : "" });
  }
  const known = job.progress !== null;
  const fill = make("i");
  if (known) fill.style.width = `${job.progress}%`;
  const text = known ? `${job.progress} %` : job.eta_at ? until(job.eta_at) : "";
  return make(
    "div",
    { className: "progress", state: job.state },
    make("div", { className: known ? "track" : "track unknown" }, fill),
    make("span", { className: "small", text }),
  );
}

// One image costs parts of a cent, so a job's cost is shown as it is; a batch's is rounded.
function dollars(amount) {
  if (amount === null) return "";
  const [whole, rest = ""] = amount.split(".");
  return `$${Number(whole).toLocaleString()}.${rest.padEnd(2, "0")}`;
}

function cents(amount) {
  return Number(amount).toLocaleString("en-US", { style: "currency", currency: "USD" });
}

function took(job) {
  if (!job.finished_at || !job.submitted_at) return "";
  return duration((Date.parse(job.finished_at) - Date.parse(job.submitted_at)) / 1000);
}

function ago(instant) {
  return `${duration((Date.now() - Date.parse(instant)) / 1000)} ago`;
}

function until(instant) {
  return `in ${duration((Date.parse(instant) - Date.now()) / 1000)}`;
}

function duration(seconds) {
  const rounded = Math.max(0, Math.round(seconds));
  if (rounded < 60) return `${rounded} s`;
  if (rounded < 3600) return `${Math.floor(rounded / 60)} min`;
  if (rounded < 86400) return `${Math.floor(rounded / 3600)} h`;
  return `${Math.floor(rounded / 86400)} d`;
}

function countsText(counts) {
  return Object.entries(counts).map(([state, count]) => `${count} ${state}`).join(", ");
}

find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, find("key").value.trim());
  find("key").value = "";
  refresh();
});
find("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  refresh();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
setInterval(() => {
  const late = seenAt === null ? 0 : Math.round((Date.now() - seenAt) / 1000);
  if (late > 5 && !find("freshness").classList.contains("stale")) find("freshness").textContent = `${late} s ago`;
}, 1000);
find("empty").querySelector("pre").textContent = `curl ${location.origin}/v1/jobs \\
  -H 'Content-Type: application/json' \\
  -d '{"params": {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}}'`;
refresh();
