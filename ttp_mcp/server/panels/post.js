// A post as followers will see it on each platform, with its lengths, problems and actions.

// Where a network folds a text, roughly; `first` puts the media above the text, `one` shows only the first file.
const LOOKS = {
  instagram: { fold: 125, first: true, one: true },
  tiktok: { fold: 100, first: true, one: true, tall: true },
  pinterest: { fold: 200, first: true, one: true },
  linkedin: { fold: 210 },
  facebook: { fold: 480 },
  twitter: { thread: true },
};
const CHECKED = ["draft", "scheduled", "failed", "partial"];

const state = {
  phase: "loading", // loading, ready, gone, cancelled, failed, alone
  failure: "",
  args: {},
  post: null, // content, thread, media_urls, platform_data; of a stored post also id, status, results …
  accounts: [], // { platform, name, handle, characters, limit }
  check: null, // the answer of check_post
  unfolded: new Set(),
};
acting.redraw = () => render();

// What the host says.

const handlers = {
  onInput: (args) => {
    state.args = args;
  },
  onResult: async (result) => {
    if (!result.ok) Object.assign(state, { phase: "failed", failure: result.text });
    else if ("would_be_sent" in result.data) await showCheck(result.data, state.args);
    else if (result.data.results) await showPost(await completeText({ ...result.data, next_offset: result.data.next_offset ?? state.args.offset }));
    else await showWritten(result);
    render();
  },
  onCancelled: () => {
    state.phase = "cancelled";
    render();
  },
  onAlone: () => {
    state.phase = "alone";
    render();
  },
};

async function showPost(post) {
  Object.assign(state, { phase: "ready", post, check: null, accounts: post.accounts.map(readLabel) });
  render();
  if (!canCall() || !CHECKED.includes(post.status)) return;
  // The lengths as the platforms count them.
  const checked = await callTool("check_post", { copy_of: post.id });
  if (checked.ok && state.post === post && checked.data.accounts.length) state.accounts = checked.data.accounts;
}

// What a check was called with is the post; what it left out is taken from the stored one.
async function showCheck(check, args) {
  const id = args.post_id ?? args.copy_of;
  const given = { content: args.content ?? "", thread: readList(args.thread), media_urls: readList(args.media_urls), platform_data: args.platform_data };
  let stored = {};
  if (id && canCall()) stored = (await readPost(id)).data;
  const post = { content: given.content || stored.content || "" };
  for (const name of ["thread", "media_urls"]) post[name] = given[name].length ? given[name] : (stored[name] ?? []);
  for (const name of readList(args.remove)) post[name] = [];
  post.platform_data = given.platform_data ?? stored.platform_data;
  post.scheduled_at = check.scheduled_at;
  Object.assign(state, { phase: "ready", post, check, args, accounts: check.accounts });
}

// After a create or a change: the post as it is stored, below the tool's words.
async function showWritten(result) {
  const args = state.args;
  acting.notice = { ok: true, title: args.post_id ? "Post changed" : "Post created", text: result.text };
  const id = result.data.post_id;
  const read = id && canCall() ? await readPost(id) : { ok: false };
  if (read.ok) return showPost(read.data);
  const content = args.content ?? result.data.text ?? "";
  Object.assign(state, {
    phase: "ready",
    check: null,
    post: { content, thread: readList(args.thread), media_urls: readList(args.media_urls), scheduled_at: result.data.scheduled_at, status: result.data.status },
    accounts: (result.data.accounts ?? []).map(readLabel),
  });
}

// Some clients pass lists as JSON text, or one value for a list.
function readList(value) {
  if (Array.isArray(value)) return value;
  if (typeof value !== "string" || !value) return [];
  try {
    return [JSON.parse(value)].flat().map(String);
  } catch {
    return [value];
  }
}

function readLabel(label) {
  const { platform, name } = splitLabel(label);
  return name.startsWith("@") ? { platform, handle: name } : { platform, name };
}

// Draw.

function render() {
  const reload = state.post?.id && canCall() && button("Show the post", "reload", () => reloadPost(state.post.id));
  if (state.phase !== "ready") draw(actingView(), phaseView(state, "Loading the preview…", reload));
  else draw(headingView(), actingView(), problemsView(), previewsView(), restView());
}

function headingView() {
  const { post, check } = state;
  const when = post.published_at ?? post.scheduled_at;
  const title = when ? showTime(when) : check ? "Draft without a time" : "No time yet";
  return make(
    "header",
    { class: "title" },
    make("div", {}, make("h1", { tabindex: "-1", "data-key": "heading" }, title), make("p", { class: "sub" }, check ? `Preview. Nothing was sent. Times in ${ZONE}` : `Times in ${ZONE}`)),
    post.status && statusBadge(post.status),
  );
}

function problemsView() {
  const errors = state.check?.errors ?? [];
  const warnings = state.check?.warnings ?? state.post.warnings ?? [];
  const item = (kind, shape) => (text) => make("li", { class: `problem ${kind}` }, drawShape(shape), make("span", {}, make("b", {}, kind === "error" ? "Error: " : "Warning: "), userText(text)));
  if (!errors.length && !warnings.length && !state.check?.already_created) return null;
  return make(
    "ul",
    { class: "problems", "aria-label": "Problems" },
    errors.map(item("error", "cross")),
    warnings.map(item("warning", "warning")),
    state.check?.already_created && item("error", "cross")("An equal post exists already, so this one would not be sent."),
  );
}

// One preview for each platform, with the accounts on it.
function previewsView() {
  const platforms = new Map();
  for (const account of state.accounts) platforms.set(account.platform, [...(platforms.get(account.platform) ?? []), account]);
  if (!platforms.size) return make("div", { class: "previews" }, previewView("", [{ name: "Post" }]));
  return make("div", { class: "previews" }, [...platforms].map(([platform, accounts]) => previewView(platform, accounts)));
}

function previewView(platform, accounts) {
  const look = LOOKS[platform] ?? {};
  const { post } = state;
  const media = shownMedia(post.media_urls ?? [], look);
  const parts = look.thread ? [post.content, ...(post.thread ?? [])] : [post.content];
  const text = parts.map((part, number) => partView(platform, look, part, number, parts.length));
  const title = post.platform_data?.[platform]?.title;
  return make(
    "article",
    { class: `post-preview${look.tall ? " tall" : ""}`, "aria-label": `Preview on ${platformName(platform) || "any platform"}` },
    profileView(platform, accounts),
    look.first && media,
    title && userText(title, { class: "pin-title" }, "h3"),
    text,
    !look.first && media,
    choicesView(post.platform_data?.[platform]),
    lengthView(accounts),
  );
}

function profileView(platform, accounts) {
  const [{ name, handle }] = accounts;
  const others = accounts.length - 1;
  return make(
    "header",
    { class: "profile" },
    platformMark(platform),
    make("div", {}, make("h2", {}, userText(name ?? handle ?? platformName(platform))), make("p", { class: "small" }, platformName(platform), name && handle && [" · ", userText(handle)], others > 0 && ` · and ${count(others, "more account")}`)),
  );
}

function partView(platform, look, part, number, parts) {
  const key = `${platform} ${number}`;
  const characters = Array.from(part);
  const folds = look.fold && characters.length > look.fold + 20;
  const folded = folds && !state.unfolded.has(key);
  return make(
    "div",
    { class: "part" },
    parts > 1 && make("p", { class: "small" }, `${number + 1} of ${parts}`),
    part ? richText(folded ? `${characters.slice(0, look.fold).join("").trimEnd()}…` : part) : make("p", { class: "none" }, "No text"),
    folds && button(folded ? "more" : "less", `fold ${key}`, () => toggleFold(key), { class: "plain", "aria-expanded": String(!folded), "aria-label": `${folded ? "More" : "Less"} of the text on ${platformName(platform)}` }),
  );
}

function toggleFold(key) {
  if (!state.unfolded.delete(key)) state.unfolded.add(key);
  render();
}

// A text with its links, tags and mentions in color, as networks show them. They lead nowhere from here.
function richText(text) {
  const shown = text.replace(UNSEEN, "").split(/(https?:\/\/\S+|[#@][\p{L}\p{N}_.]*[\p{L}\p{N}_])/u);
  return make("div", { class: "text", dir: "auto" }, shown.map((piece, number) => (number % 2 ? make("bdi", { class: "tag" }, piece) : piece)));
}

function shownMedia(urls, look) {
  if (!urls.length) return null;
  const shown = urls.slice(0, look.one ? 1 : 4);
  const more = urls.length - shown.length;
  return make(
    "figure",
    { class: `media n${shown.length}` },
    shown.map(mediaTile),
    more > 0 && make("figcaption", { class: "pill" }, look.one ? `1 of ${urls.length}` : `${more} more`),
  );
}

// Choices for this platform: privacy, board and others.
function choicesView(data) {
  const shown = Object.entries(data ?? {}).filter(([name]) => name !== "title");
  if (!shown.length) return null;
  return make("dl", { class: "details" }, shown.map(([name, value]) => make("div", {}, make("dt", {}, name.replace(/([A-Z])/g, " $1").toLowerCase()), make("dd", {}, userText(typeof value === "boolean" ? (value ? "yes" : "no") : value)))));
}

// The longest text of the post, as the platform counts it.
function lengthView(accounts) {
  const { characters, limit } = accounts.find((account) => account.characters !== undefined) ?? {};
  if (characters === undefined) return null;
  const over = limit ? characters - limit : 0;
  const bar = make("div", { class: "meter", "aria-hidden": "true" }, make("div", { class: over > 0 ? "fill over-limit" : "fill" }));
  bar.firstChild.style.width = `${Math.min(100, (100 * characters) / (limit || characters || 1))}%`;
  const words = limit ? `${characters} of ${limit} characters` : count(characters, "character");
  return make("footer", { class: "length" }, limit ? bar : null, make("p", { class: over > 0 ? "small too-long" : "small" }, over > 0 ? `${words}, ${over} too many` : words));
}

// What can be done.

function restView() {
  const { post, check } = state;
  if (check) return [threadProposalView(), checkActionsView()];
  return [cutView(post), resultsView(post.results), post.id && actionsView(post, written, removed)];
}

function checkActionsView() {
  const { args, check } = state;
  const send = args.post_id ? "Change the post" : check.scheduled_at ? "Schedule it" : "Save as draft";
  return make(
    "div",
    { class: "row", role: "group", "aria-label": "Actions" },
    canCall() && check.would_be_sent && button(send, "send", () => act(send, args.post_id ? "reschedule_post" : "create_post", args, written), { class: "primary", disabled: Boolean(acting.busy) }),
    button("Copy text", "copy", () => copyPost(state.post)),
  );
}

function threadProposalView() {
  const proposed = state.check.proposed_thread;
  if (!proposed) return null;
  return make(
    "section",
    { class: "notice", "aria-label": "Proposed thread" },
    make("h2", {}, `As a thread of ${proposed.thread.length + 1} on X`),
    textView(proposed),
    canCall() && make("div", { class: "row" }, button("Check it as a thread", "thread", () => checkThread(proposed), { disabled: Boolean(acting.busy) })),
  );
}

function checkThread(proposed) {
  const args = { ...state.args, content: proposed.content, thread: proposed.thread };
  act("Check as a thread", "check_post", args, (answer) => showCheck(answer.data, args).then(render));
}

async function written(answer) {
  if (answer.data.post_id) await reloadPost(answer.data.post_id);
}

async function reloadPost(id) {
  const answer = await readPost(id);
  if (answer.ok) await showPost(answer.data);
  else acting.notice = { ok: false, title: "Post not loaded", text: answer.text };
  render();
}

async function removed() {
  state.phase = "gone";
  render();
}

render();
startPanel("post", handlers);
