// What a person can do with a post, for the calendar and the post panel. Each action is one call of a tool.

// The server's preview: its question, and in its last line a code, which a click of the user sends.
const PREVIEW = /^[^\n]*\n([^]*)\n[^\n]*confirmation ([0-9a-f]{16,64}) \(once/;

// State that both panels share: `busy` names the running action, `notice` is what happened last,
// `confirm` repeats a refused call with the code of its preview, `ask` is a question before a call.
const acting = { busy: null, notice: null, confirm: null, ask: null, redraw: () => {} };

// Call a tool that changes something. `then` gets the answer if it was done.
async function act(title, tool, args, then) {
  if (acting.busy) return;
  Object.assign(acting, { busy: title, notice: null, confirm: null });
  acting.redraw();
  announce(`${title}: working.`);
  const answer = await callTool(tool, args);
  const [, question, code] = (!answer.ok && PREVIEW.exec(answer.text)) || [];
  if (!code) tellModel(`${title} (${tool} ${JSON.stringify(args)}).`, answer.text);
  // Until the panel shows what was done, nothing else can be.
  if (answer.ok) await then(answer);
  acting.busy = null;
  acting.ask = null;
  acting.notice = { ok: answer.ok, title: answer.ok ? `${title}: done` : `${title}: not done`, text: answer.text };
  if (code) {
    acting.notice = { ok: false, title: `${title}: please confirm`, text: question };
    acting.confirm = () => act(title, tool, { ...args, confirmation: code }, then);
  }
  announce(acting.notice.title);
  acting.redraw();
  focusOn(code ? "confirm" : "notice");
}

function dismissNotice() {
  Object.assign(acting, { notice: null, confirm: null });
  acting.redraw();
}

// The notice of the last action, the running one, or the question before one.
function actingView() {
  if (acting.busy) return make("p", { class: "notice", "aria-busy": "true" }, `${acting.busy}…`);
  if (acting.ask) return acting.ask();
  if (!acting.notice) return null;
  const actions = acting.confirm
    ? [button("Confirm", "confirm", acting.confirm, { class: "primary" }), button("Don't", "dismiss", dismissNotice)]
    : [button("Close", "notice", dismissNotice)];
  return noticeView(acting.notice, actions);
}

function openQuestion(ask, key) {
  Object.assign(acting, { ask, notice: null, confirm: null });
  acting.redraw();
  focusOn(key);
}

function closeQuestion() {
  acting.ask = null;
  acting.redraw();
  focusOn("heading");
}

function canMove(post) {
  return canCall() && (post.status === "scheduled" || post.status === "draft");
}

function canCancel(post) {
  return canCall() && post.status !== "publishing";
}

// Ask for the time of a post, with a day and a clock time already filled in. It is no form: frames may forbid those.
function askTime(post, day, clock, then) {
  const words = shorten(post.content, 60) || "this post";
  const field = (text, type, value) =>
    make("label", {}, text, make("input", { type, id: `move-${type}`, value, required: true }));
  openQuestion(
    () =>
      make(
        "section",
        { class: "notice", "aria-labelledby": "move-title" },
        make("h2", { id: "move-title" }, "Move “", userText(words), "” to"),
        make("div", { class: "row" }, field("Day", "date", day), field("Time", "time", clock), button("Move", "move", () => submitTime(post, then), { class: "primary" }), button("Keep as it is", "keep", closeQuestion)),
        make("p", { class: "small" }, `Times are in ${ZONE}.`),
      ),
    "move",
  );
}

function submitTime(post, then) {
  const fields = ["date", "time"].map((type) => document.querySelector(`#move-${type}`));
  if (!fields.every((field) => field.reportValidity())) return;
  act("Move post", "reschedule_post", { post_id: post.id, scheduled_at: fields.map((field) => field.value).join("T") }, then);
}

function askCancel(post, then) {
  const verb = post.status === "scheduled" ? "Cancel" : "Delete";
  const words = shorten(post.content, 60) || "this post";
  openQuestion(
    () =>
      make(
        "section",
        { class: "notice refused", "aria-label": `${verb} this post?` },
        make("h2", {}, `${verb} “`, userText(words), "”?"),
        make("p", { class: "small" }, "This deletes the post. What a network already shows stays there."),
        make(
          "div",
          { class: "row" },
          button(`${verb} post`, "cancel-yes", () => act(`${verb} post`, "delete_post", { post_id: post.id }, then), { class: "danger" }),
          button("Keep it", "keep", closeQuestion),
        ),
      ),
    "keep",
  );
}

async function copyPost(post) {
  const copied = await copyText([post.content, ...(post.thread ?? [])].join("\n\n"));
  announce(copied ? "Text copied." : "The text could not be copied. Select it and copy it by hand.");
  acting.notice = copied ? { ok: true, title: "Text copied" } : { ok: false, title: "Not copied", text: "This client does not allow it. Select the text and copy it by hand." };
  acting.redraw();
}

// The buttons of a post. `moved` and `cancelled` are called with the answer.
function actionsView(post, moved, cancelled) {
  const [day, clock] = post.scheduled_at ? [dayOf(post.scheduled_at), clockOf(post.scheduled_at)] : ["", ""];
  return make(
    "div",
    { class: "row", role: "group", "aria-label": "Actions" },
    canMove(post) && button(post.scheduled_at ? "Change time" : "Set a time", "change-time", () => askTime(post, day, clock, moved), { disabled: Boolean(acting.busy) }),
    !post.next_offset && button("Copy text", "copy", () => copyPost(post)),
    canCancel(post) && button(post.status === "scheduled" ? "Cancel post" : "Delete post", "cancel", () => askCancel(post, cancelled), { class: "danger", disabled: Boolean(acting.busy) }),
  );
}

// A link that leaves the panel, or its address where it can't be opened.
function linkView(url, words) {
  if (!isFollowable(url) || !host.capabilities.openLinks) return userText(url, { class: "small" });
  return button(words, `link ${url}`, () => openLink(url), { class: "plain", role: "link" });
}

function mediaView(urls) {
  if (!urls?.length) return null;
  return make("ul", { class: "gallery", "aria-label": "Media" }, urls.map((url) => make("li", {}, mediaTile(url))));
}

// Images come from the media host, which the panel declares. Those of the sandbox are read through the server.
function mediaTile(url) {
  const name = fileName(url);
  const missing = make("span", { class: "tile" }, userText(name), make("span", {}, "not shown here"));
  if (/\.(mp4|mov|webm|m4v)$/i.test(name)) return make("span", { class: "tile" }, userText(name), make("span", {}, "video"));
  if (isFollowable(url) || !host.capabilities.serverResources) {
    const image = make("img", { class: "tile", src: url, alt: name, loading: "lazy", onerror: () => image.replaceWith(missing) });
    return image;
  }
  const canvas = make("canvas", { class: "tile", role: "img", "aria-label": name });
  paintImage(canvas, url).catch(() => canvas.replaceWith(missing));
  return canvas;
}

function fileName(url) {
  try {
    return decodeURIComponent(new URL(url).pathname.split("/").pop()) || "file";
  } catch {
    return "file";
  }
}

const images = new Map();

// No element loads it, so hosts that allow no `data:` show it too.
async function paintImage(canvas, url) {
  if (!images.has(url)) images.set(url, readImage(url));
  const image = await images.get(url);
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").drawImage(image, 0, 0);
}

async function readImage(url) {
  const { contents } = await request("resources/read", { uri: `ui://timetopost/images/${encodeURIComponent(url)}` });
  const bytes = Uint8Array.from(atob(contents[0].blob), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: contents[0].mimeType }));
}

// What no account has done yet is said by the status of the post.
function resultsView(results) {
  if (!results?.some(({ status }) => status !== "pending")) return null;
  const items = results.map((result) =>
    make("li", {}, statusBadge(result.status), userText(showLabel(result.account)), result.error && userText(result.error, { class: "small" }), result.url && linkView(result.url, "Open post")),
  );
  return make("ul", { class: "results", "aria-label": "Result on each account" }, items);
}

// Read a post in full: { ok, text, data }.
async function readPost(id) {
  const answer = await callTool("get_post", { post_id: id });
  return answer.ok ? { ...answer, data: await completeText(answer.data) } : answer;
}

// An answer of get_post has only a part of a very long text.
async function completeText(post) {
  if (!post.next_offset || !host.capabilities.serverResources) return post;
  try {
    const { contents } = await request("resources/read", { uri: `ui://timetopost/texts/${encodeURIComponent(post.id)}` });
    return { ...post, content: contents[0].text, next_offset: null };
  } catch {
    return post;
  }
}

// For clients that don't let panels read resources.
function cutView(post) {
  return post.next_offset ? make("p", { class: "small" }, `Only a part of the ${post.content_characters} characters is shown.`) : null;
}

function textView(post) {
  if (!post.thread?.length) return userText(post.content, { class: "text" }, "div");
  return make("ol", { class: "thread", "aria-label": "Thread" }, [post.content, ...post.thread].map((part) => make("li", {}, userText(part, { class: "text" }, "div"))));
}
