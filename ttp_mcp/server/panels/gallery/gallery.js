// A host with recorded data. It answers the reads that were recorded, and refuses the rest.
"use strict";

const frame = document.querySelector("#view");
const theme = document.querySelector("#theme");
const width = document.querySelector("#width");
const refusal = "This page shows recorded data, so nothing can be changed here. Open the panel in a client.";
let recorded = null;

function send(message) {
  frame.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function chosen() {
  return recorded.examples.find(({ name }) => name === location.hash.slice(1)) ?? recorded.examples[0];
}

function context() {
  return { theme: theme.getAttribute("aria-pressed") === "true" ? "dark" : "light" };
}

function callTool({ name, arguments: args }) {
  if (name === "list_posts") return listPosts(args);
  if (name === "get_post") return recorded.posts[args.post_id] ?? refuse();
  if (name === "post_results") return recorded.results[args.sort_by] ?? refuse();
  return recorded.calls.find((call) => call.tool === name && JSON.stringify(call.arguments) === JSON.stringify(args))?.result ?? refuse();
}

function refuse() {
  return { isError: true, content: [{ type: "text", text: refusal }] };
}

// The recorded posts of these days, soonest first.
function listPosts({ after = "", before = "9" }) {
  const time = (post) => post.published_at ?? post.scheduled_at ?? "";
  const { structuredContent, content } = recorded.list;
  const posts = structuredContent.posts.filter((post) => time(post).slice(0, 10) >= after && time(post).slice(0, 10) <= before);
  posts.sort((one, other) => (time(one) < time(other) ? -1 : 1));
  return { content, structuredContent: { ...structuredContent, posts } };
}

function answer(method, params) {
  switch (method) {
    case "ui/initialize":
      return { protocolVersion: "2026-01-26", hostInfo: { name: "gallery", version: "1" }, hostCapabilities: { serverTools: {}, serverResources: {} }, hostContext: context() };
    case "tools/call":
      return callTool(params);
    case "resources/read":
      return { contents: [recorded.images[params.uri]] };
    default:
      return null;
  }
}

function receive({ data, source }) {
  if (source !== frame.contentWindow) return;
  const { id, method, params } = data;
  if (method === "ui/notifications/initialized") start();
  else if (method === "ui/notifications/size-changed") frame.style.height = `${params.height + 2}px`;
  else if (method && id !== undefined) {
    const result = answer(method, params);
    send(result ? { id, result } : { id, error: { code: -32601, message: refusal } });
  }
}

function start() {
  const example = chosen();
  frame.style.visibility = "visible";
  send({ method: "ui/notifications/tool-input", params: { arguments: example.arguments } });
  send({ method: "ui/notifications/tool-result", params: example.result });
}

function show() {
  const example = chosen();
  for (const link of document.querySelectorAll("#examples a")) {
    if (link.hash === `#${example.name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector("#call").textContent = `After a call of ${example.tool}.`;
  frame.style.visibility = "hidden";
  // A frame that is loaded again keeps no entry in the history.
  frame.contentWindow.location.replace(`/panels/view/${example.panel}.html`);
}

function toggle(button, apply) {
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    apply(pressed);
  });
}

async function open() {
  recorded = await (await fetch("/panels/recorded.json")).json();
  const links = recorded.examples.map(({ name, title }) => {
    const link = document.createElement("a");
    link.href = `#${name}`;
    link.textContent = title;
    const item = document.createElement("li");
    item.append(link);
    return item;
  });
  document.querySelector("#examples").append(...links);
  show();
}

window.addEventListener("message", receive);
window.addEventListener("hashchange", show);
toggle(theme, () => send({ method: "ui/notifications/host-context-changed", params: context() }));
toggle(width, (narrow) => document.body.classList.toggle("narrow", narrow));
open();
