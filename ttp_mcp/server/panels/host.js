// JSON-RPC with the host over postMessage, as the MCP Apps specification of 2026-01-26 has it.

const PROTOCOL_VERSION = "2026-01-26";
const SIZE_DELAY_MS = 100;
const MOST_REMEMBERED = 20;

const host = { capabilities: {}, context: {} };
const pending = new Map();
// Each update of the model's context replaces the one before, so what was done is sent as a whole.
const done = [];
let lastId = 0;

function send(message) {
  window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function request(method, params = {}) {
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    pending.set(id, { resolve, reject });
    send({ id, method, params });
  });
}

function notify(method, params = {}) {
  send({ method, params });
}

// Start a panel. `handlers` has onInput, onResult and onCancelled; each may be called again by a later call of the tool.
async function startPanel(name, handlers) {
  window.addEventListener("message", (event) => receive(event, handlers));
  if (window.parent === window) {
    handlers.onAlone();
    return;
  }
  const answer = await request("ui/initialize", {
    appInfo: { name: `timetopost-${name}`, version: document.body.dataset.version },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    protocolVersion: PROTOCOL_VERSION,
  });
  host.capabilities = answer?.hostCapabilities ?? {};
  applyContext(answer?.hostContext ?? {});
  notify("ui/notifications/initialized");
  followSize();
  new ResizeObserver(followSize).observe(document.documentElement);
  window.addEventListener("resize", followSize);
}

function receive(event, handlers) {
  const message = event.data;
  // Only the host is believed: any other window could post here too.
  if (event.source !== window.parent || event.source === window) return;
  if (typeof message !== "object" || message === null || message.jsonrpc !== "2.0") return;
  if (typeof message.method !== "string") settle(message);
  else if (message.id === undefined) receiveNotification(message.method, message.params ?? {}, handlers);
  else answerRequest(message);
}

function settle({ id, result, error }) {
  const waiting = pending.get(id);
  pending.delete(id);
  if (error) waiting?.reject(new Error(String(error.message ?? "The client refused.")));
  else waiting?.resolve(result);
}

// Some clients send the result before its arguments, or no arguments: it is shown at once, and again when they are known.
const call = { hasInput: false, early: null };

function receiveInput(args, { onInput, onResult }) {
  onInput(args);
  if (call.early) onResult(call.early);
  Object.assign(call, { hasInput: !call.early, early: null });
}

function receiveResult(result, { onResult }) {
  Object.assign(call, { hasInput: false, early: call.hasInput ? null : result });
  onResult(result);
}

function receiveNotification(method, params, handlers) {
  if (method === "ui/notifications/tool-input") receiveInput(params.arguments ?? {}, handlers);
  else if (method === "ui/notifications/tool-result") receiveResult(readResult(params), handlers);
  else if (method === "ui/notifications/tool-cancelled") handlers.onCancelled();
  else if (method === "ui/notifications/host-context-changed") applyContext(params);
}

function answerRequest({ id, method }) {
  if (method === "ping" || method === "ui/resource-teardown") send({ id, result: {} });
  else send({ id, error: { code: -32601, message: "Method not found" } });
}

// Theme, colors, language direction and safe area of the host.
function applyContext(context) {
  Object.assign(host.context, context);
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = host.context.theme ?? (dark ? "dark" : "light");
  for (const [name, value] of Object.entries(context.styles?.variables ?? {})) {
    if (/^--[a-z0-9-]+$/.test(name) && typeof value === "string") root.style.setProperty(name, value);
  }
  const inset = host.context.safeAreaInsets;
  for (const side of inset ? ["top", "right", "bottom", "left"] : []) {
    document.body.style.setProperty(`margin-${side}`, `${Number(inset[side]) || 0}px`);
  }
}

// Report the size that the content has without a scrollbar: a scrollbar that takes space changes it.
let sizeTimer = 0;
function followSize() {
  const root = document.documentElement;
  root.style.overflowY = "hidden";
  const box = root.getBoundingClientRect();
  const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
  if (height > window.innerHeight) root.style.overflowY = "auto";
  clearTimeout(sizeTimer);
  sizeTimer = setTimeout(() => notify("ui/notifications/size-changed", { width, height }), SIZE_DELAY_MS);
}

function canCall() {
  return Boolean(host.capabilities.serverTools);
}

// Call a tool of the server: { ok, text, data }. It never throws: a refusal is an answer with its words.
async function callTool(name, args) {
  if (!canCall()) return { ok: false, text: "This client does not let panels call tools. Ask for it in the chat.", data: {} };
  try {
    return readResult(await request("tools/call", { name, arguments: args }));
  } catch (error) {
    return { ok: false, text: error.message, data: {} };
  }
}

function readResult(result) {
  const texts = (result?.content ?? []).filter((block) => block.type === "text").map((block) => block.text);
  if (result?.resultType === "input_required" || result?.inputRequests) {
    return { ok: false, text: "The server wants to ask you first, and this client did not pass the question on. Ask for it in the chat; nothing was changed.", data: {} };
  }
  return { ok: !result?.isError, text: texts.join("\n"), data: result?.structuredContent ?? {} };
}

// Tell the model what a person did here, with the tool's own answer.
function tellModel(action, answer) {
  done.push(`${action} The tool answered:\n${answer}`);
  if (!host.capabilities.updateModelContext) return;
  const text = `In the panel the user did this, latest last:\n\n${done.slice(-MOST_REMEMBERED).join("\n\n")}`;
  request("ui/update-model-context", { content: [{ type: "text", text }] }).catch(() => {});
}

function isFollowable(url) {
  try {
    return new URL(url).protocol === "https:";
  } catch {
    return false;
  }
}

function openLink(url) {
  if (isFollowable(url) && host.capabilities.openLinks) request("ui/open-link", { url }).catch(() => {});
}
