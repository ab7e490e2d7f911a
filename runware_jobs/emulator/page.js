"use strict";

const get = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const dollars = (value) =>
  "$" + Number(value).toLocaleString("en", { minimumFractionDigits: 4, maximumFractionDigits: 4 });
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const row = (...cells) => {
  const line = make("tr");
  line.append(...cells.map((cell) => (cell instanceof Node ? cell : make("td", cell))));
  return line;
};
const none = (text, columns) => {
  const cell = make("td", text, "soft");
  cell.colSpan = columns;
  return [row(cell)];
};
const code = (text) => {
  const cell = make("td");
  cell.append(make("code", text));
  return cell;
};
const fill = (id, rows, empty, columns) => get(id).replaceChildren(...(rows.length ? rows : none(empty, columns)));
const ask = async (path, options) => (await fetch(path, options)).json();

// What a button sets: a ready-made rule or an action by its name.
const FAULTS = [
  ["429 with Retry-After", { action: "rate_limit" }], ["503", { action: "overload" }],
  ["HTML 502", { action: "bad_gateway" }], ["answer lost", { on: "submit", action: "lose_answer" }],
  ["socket dropped", { action: "drop_socket" }], ["port closed for 5 s", { action: "close_listener", for_s: 5 }],
  ["provider error", { action: "provider_error" }], ["moderation", { action: "moderation" }],
  ["stuck task", { action: "stuck" }], ["lost task", { action: "lost" }],
  ["full queue", { action: { kind: "capacity", running: 2, queued: 4 } }],
  ["no credits", { action: "no_credits" }], ["key rejected", { action: "reject_key" }],
];

async function addFault(rule) {
  const answer = await fetch("faults", { method: "POST", body: JSON.stringify(rule) });
  const wrong = get("wrong");
  wrong.hidden = answer.ok;
  if (!answer.ok) wrong.textContent = (await answer.json()).error;
  refresh();
  return answer.ok;
}

function chance() {
  const chosen = get("rate").value;
  return chosen === "once" ? { count: 1 } : chosen === "1" ? {} : { rate: Number(chosen) };
}

function showButtons() {
  const buttons = FAULTS.map(([name, rule]) => {
    const button = make("button", name);
    button.onclick = () => addFault({ ...rule, ...(rule.for_s || rule.action.kind ? {} : chance()) });
    return button;
  });
  const clear = make("button", "Clear all", "right");
  clear.onclick = async () => { await fetch("faults", { method: "DELETE" }); refresh(); };
  get("ready-made").append(...buttons, clear);
  get("custom").onsubmit = async (event) => {
    event.preventDefault();
    try {
      if (await addFault(JSON.parse(get("rule").value))) get("rule").value = "";
    } catch (error) {
      get("wrong").hidden = false;
      get("wrong").textContent = error.message;
    }
  };
}

function showTiles(state) {
  const states = state.tasks.by_state;
  const balance = state.accounts.reduce((sum, one) => sum + Number(one.balance_usd), 0);
  const tiles = [
    ["running", states.processing || 0], ["succeeded", states.success || 0], ["failed", states.error || 0],
    ["refused", state.totals.refused], ["duplicates", state.totals.duplicates],
    ["billed", dollars(state.totals.billed_usd)],
    ["balance left", state.accounts.length ? "$" + Math.floor(balance).toLocaleString("en-US") : "-"],
    ["REST + WS", state.requests.rest + " + " + state.requests.websocket],
  ];
  get("tiles").replaceChildren(...tiles.map(([name, value]) => {
    const tile = make("div", undefined, "tile");
    tile.append(make("b", value), make("span", name));
    return tile;
  }));
  get("settings").textContent = "speed " + state.speed + " x, seed " + state.seed;
}

function showFaults(state) {
  fill("faults", state.faults.map((rule) => {
    const remove = make("button", "Remove"), last = make("td", undefined, "number");
    remove.onclick = async () => {
      await fetch("faults/" + encodeURIComponent(rule.id), { method: "DELETE" });
      refresh();
    };
    last.append(remove);
    const { kind, ...values } = rule.action;
    const details = Object.entries({ ...values, taskType: rule.taskType, model: rule.model, prompt: rule.prompt })
      .filter(([name, value]) => value !== null && (name !== "retry_after_form" || values.retry_after !== null)).map(([name, value]) => name + " " + JSON.stringify(value)).join(", ");
    const ends = rule.ends_at === null ? "" : rule.ends_at < state.now ? "over" : "until " + time(rule.ends_at);
    const line = row(code(kind), make("td", details, "soft prompt"), "on " + rule.on, Math.round(rule.rate * 100) + " %",
      rule.count === null ? "no limit" : rule.count + " left", ends, rule.hits + " hits", last);
    if (rule.count === 0 || ends === "over") line.className = "soft";
    return line;
  }), "None: everything works.", 8);
}

const shown = new Map();
function showPictures(tasks) {
  const wanted = [];
  for (const task of tasks) {
    if (!["image", "video", "vector"].includes(task.media)) continue;
    for (const url of task.urls) wanted.push([url, task]);
    if (wanted.length >= 12) break;
  }
  const nodes = wanted.slice(0, 12).map(([url, task]) => {
    if (!shown.has(url)) {
      const link = make("a"); link.href = url; link.target = "_blank"; link.title = task.prompt;
      const media = make(task.media === "video" ? "video" : "img");
      if (task.media === "video") { media.muted = media.loop = media.autoplay = media.playsInline = true; } else { media.alt = task.prompt; }
      media.src = url; link.append(media); shown.set(url, link);
    }
    return shown.get(url);
  });
  const box = get("pictures");
  if (!nodes.length) box.replaceChildren(make("span", "None yet. Send a task to " + location.origin + "/v1", "soft"));
  else if (nodes.length !== box.children.length || nodes.some((node, index) => box.children[index] !== node)) box.replaceChildren(...nodes);
  for (const url of shown.keys()) if (!wanted.some((one) => one[0] === url)) shown.delete(url);
}

function showTasks(tasks) {
  fill("tasks", tasks.slice(0, 40).map((task) => {
    const state = make("td");
    if (task.state === "processing") {
      const bar = make("span", undefined, "bar"), part = make("i");
      part.style.width = task.progress + "%"; bar.append(part); state.append(bar, make("span", " " + task.progress + " %", "soft"));
    } else state.append(make("span", task.state, task.state));
    return row(code(task.taskUUID.slice(0, 8)), task.taskType, make("td", task.model, "soft"),
      make("td", task.prompt, "prompt"), state, make("td", dollars(task.billed_usd), "number"));
  }), "None yet.", 6);
}

function showBooks(recent, accounts) {
  fill("events", recent.events.map((one) => row(make("td", time(one.at), "soft"), make("td", one.event, one.event),
    code(one.taskUUID.slice(0, 8)), one.event === "billed" ? dollars(one.detail) : one.detail)), "Nothing happened yet.", 4);
  fill("requests", recent.requests.map((one) => row(make("td", time(one.at), "soft"), one.transport,
    make("td", one.submits, "number"), make("td", one.polls, "number"),
    make("td", one.outcome, one.outcome === "answered" ? "soft" : "bad"))), "None yet.", 5);
  fill("accounts", accounts.map((one) => row(one.organizationName, ...["balance_usd", "held_usd", "billed_usd"]
    .map((name) => make("td", dollars(one[name]), "number")))), "Nobody has called yet.", 4);
}

async function refresh() {
  try {
    const [state, list, recent] = await Promise.all(["state", "tasks?limit=60", "recent?limit=12"].map((path) => ask(path)));
    showTiles(state); showFaults(state); showPictures(list.tasks); showTasks(list.tasks); showBooks(recent, state.accounts);
    get("offline").hidden = true;
  } catch { get("offline").hidden = false; }
}

get("reset").onclick = async () => { await fetch("reset", { method: "POST" }); refresh(); };
showButtons();
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
