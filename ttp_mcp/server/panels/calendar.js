// The calendar: weeks and months of posts, a plan before it is applied, and its progress after.

const PAGE = 100;
const MOST_PAGES = 5;
const SHOWN_IN_DAY = 6;
const SHOWN_IN_CELL = 3;

const state = {
  phase: "loading", // loading, ready, cancelled, failed, alone
  failure: "",
  view: "week",
  anchor: null, // a day of the week or month that is shown
  today: null,
  posts: [],
  loading: false,
  truncated: false,
  loadFailure: null,
  filters: {},
  args: {},
  plan: null, // { id, planned, unplanned, texts }
  open: null, // a post in full
  expanded: new Set(),
};
acting.redraw = () => render();

// What the host says.

const handlers = {
  onInput: (args) => {
    state.args = args;
  },
  onResult: (result) => {
    if (!result.ok) {
      Object.assign(state, { phase: "failed", failure: result.text });
      render();
    } else if (result.data.planned) showPlan(result.data, state.args);
    else if (result.data.steps) showProgress(result);
    else showList(result.data);
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

function showList(data) {
  const wanted = ["status", "platform", "account", "text"].filter((name) => state.args[name]);
  state.filters = Object.fromEntries(wanted.map((name) => [name, state.args[name]]));
  state.today = dayOf(data.now);
  state.posts = (data.posts ?? []).filter(timeOf);
  const days = state.posts.map((post) => dayOf(timeOf(post)));
  const monday = mondayOf(state.today);
  const hasThisWeek = days.some((day) => mondayOf(day) === monday);
  open(/^\d{4}-\d\d-\d\d/.test(state.args.after ?? "") ? dayOf(state.args.after) : hasThisWeek ? state.today : (days[0] ?? state.today));
}

function showPlan(data, args) {
  const posts = readPosts(args.posts);
  state.plan = {
    id: data.plan_id,
    posts,
    planned: data.planned.map((entry) => ({ ...entry, content: posts?.[entry.index - 1]?.content })),
    unplanned: data.unplanned ?? [],
    args,
  };
  const first = data.planned.map((entry) => entry.scheduled_at).sort()[0];
  return open(first ? dayOf(first) : state.today);
}

// Some clients pass lists as JSON text.
function readPosts(posts) {
  try {
    const read = typeof posts === "string" ? JSON.parse(posts) : posts;
    return Array.isArray(read) ? read : null;
  } catch {
    return null;
  }
}

function showProgress(result) {
  acting.notice = { ok: true, title: "Plan applied", text: result.text };
  const first = result.data.steps.map((step) => step.scheduled_at).find(Boolean);
  open(first ? dayOf(first) : state.today);
}

// Show the week or month of a day. Without one, the server's answer says which day it is.
async function open(day) {
  state.phase = "ready";
  state.anchor = day;
  await load();
}

// Load what is shown.

function shownDays() {
  if (!state.anchor) return [];
  if (state.view === "week") {
    const monday = mondayOf(state.anchor);
    return Array.from({ length: 7 }, (_, number) => addDays(monday, number));
  }
  const first = mondayOf(`${state.anchor.slice(0, 7)}-01`);
  const weeks = addDays(first, 35).slice(0, 7) === state.anchor.slice(0, 7) ? 6 : 5;
  return Array.from({ length: weeks * 7 }, (_, number) => addDays(first, number));
}

let loads = 0;
async function load() {
  if (!canCall()) {
    state.anchor ??= new Date().toISOString().slice(0, 10);
    state.today ??= state.anchor;
    render();
    return;
  }
  const mine = ++loads;
  Object.assign(state, { loading: true, loadFailure: null });
  render();
  const found = await loadPages();
  // A later request for another week wins.
  if (mine !== loads) return;
  state.loading = false;
  if (found) Object.assign(state, found);
  render();
}

// Every page of the days that are shown; null if it failed.
async function loadPages() {
  const posts = [];
  let cursor;
  for (let page = 0; page < MOST_PAGES; page++) {
    const range = state.anchor ? { after: shownDays()[0], before: shownDays().at(-1) } : {};
    const answer = await callTool("list_posts", { ...state.filters, ...range, order: "soonest", limit: PAGE, ...(cursor && { cursor }) });
    if (!answer.ok) {
      state.loadFailure = answer.text;
      return null;
    }
    state.today = dayOf(answer.data.now);
    if (!state.anchor) {
      state.anchor = state.today;
      return loadPages();
    }
    posts.push(...answer.data.posts.filter(timeOf));
    cursor = answer.data.next_cursor;
    if (!cursor) break;
  }
  return { posts, truncated: Boolean(cursor) };
}

function timeOf(post) {
  return post.published_at ?? post.scheduled_at;
}

// Posts and proposals by day, in the order of their times.
function byDay() {
  const planned = (state.plan?.planned ?? []).map((entry) => ({ ...entry, status: "planned", planned: true }));
  const days = new Map();
  for (const post of [...state.posts, ...planned].sort((one, other) => (timeOf(one) < timeOf(other) ? -1 : 1))) {
    const day = dayOf(timeOf(post));
    days.set(day, [...(days.get(day) ?? []), post]);
  }
  return days;
}

// Draw.

function render() {
  const words = "Loading the calendar…";
  if (state.phase !== "ready") draw(phaseView(state, words, reloadButton()));
  else if (!state.anchor && state.loading) draw(loadingView(words));
  else if (state.open) draw(actingView(), detailView(state.open));
  else draw(headingView(), actingView(), planView(), problemView(), state.view === "week" ? weekView() : monthView());
}

function reloadButton() {
  return canCall() && button("Show the calendar", "reload", () => open(state.today));
}

function headingView() {
  const days = state.anchor ? shownDays() : [];
  const title = !days.length ? "Calendar" : state.view === "week" ? `Week of ${showDay(days[0], "date")}` : showDay(state.anchor, "month");
  return make(
    "header",
    { class: "title" },
    make("div", {}, make("h1", { tabindex: "-1", "data-key": "heading" }, title), make("p", { class: "sub" }, `Times in ${ZONE}`, filterWords())),
    canCall() && make("div", { class: "row", role: "group", "aria-label": "Period" },
      button("Previous", "previous", () => turn(-1), { "aria-label": `Previous ${state.view}` }),
      button("Today", "today", () => open(state.today)),
      button("Next", "next", () => turn(1), { "aria-label": `Next ${state.view}` }),
      button("Week", "week", () => change("week"), { "aria-pressed": String(state.view === "week") }),
      button("Month", "month", () => change("month"), { "aria-pressed": String(state.view === "month") }),
      Object.keys(state.filters).length > 0 && button("Show all", "all", showAll)),
  );
}

function filterWords() {
  const words = Object.entries(state.filters).map(([name, value]) => `${name} ${[value].flat().join(", ")}`);
  return words.length ? [" · only ", userText(words.join("; "))] : [];
}

function showAll() {
  state.filters = {};
  load();
}

function turn(step) {
  const [year, month] = state.anchor.split("-").map(Number);
  const next = new Date(Date.UTC(year, month - 1 + step, 1)).toISOString().slice(0, 10);
  open(state.view === "week" ? addDays(state.anchor, 7 * step) : next);
}

function change(view, day = state.anchor) {
  state.view = view;
  open(day);
}

function problemView() {
  if (state.loadFailure) return noticeView({ ok: false, title: "Posts not loaded", text: state.loadFailure }, [button("Try again", "again", load)]);
  if (state.truncated) return make("p", { class: "notice" }, `Only the first ${state.posts.length} posts are shown. Choose a week instead of a month.`);
  return null;
}

function weekView() {
  const days = byDay();
  const shown = shownDays();
  const none = !state.loading && !shown.some((day) => days.has(day));
  const list = make("ol", { class: "week", "aria-label": "Days", "aria-busy": String(state.loading) }, shown.map((day) => dayView(day, days.get(day) ?? [])));
  return [none && !state.loadFailure && emptyView("No posts this week", "Ask in the chat to write or plan some."), list];
}

function dayView(day, posts) {
  const all = state.expanded.has(day) || posts.length <= SHOWN_IN_DAY + 1;
  const shown = all ? posts : posts.slice(0, SHOWN_IN_DAY);
  return make(
    "li",
    { class: `day${day === state.today ? " today" : ""}`, "data-day": day },
    make("h2", {}, make("time", { datetime: day }, showDay(day, "short")), day === state.today && make("span", { class: "pill" }, "Today")),
    shown.map(cardView),
    posts.length === 0 && make("p", { class: "none" }, state.loading ? "Loading…" : "No posts"),
    !all && button(`${posts.length - SHOWN_IN_DAY} more`, `more ${day}`, () => expand(day), { class: "more", "aria-expanded": "false" }),
    make("div", { class: "hours", "aria-hidden": "true" }, ["00", "06", "12", "18"].map((hour) => make("span", {}, hour))),
  );
}

function expand(day) {
  const first = byDay().get(day)[SHOWN_IN_DAY];
  state.expanded.add(day);
  render();
  focusOn(`post ${first.id}`);
}

function cardView(post) {
  if (post.planned) return proposalView(post);
  const movable = canMove(post);
  const card = make(
    "article",
    { class: `card c-${post.status}${movable ? " movable" : ""}` },
    make("p", { class: "head" }, make("span", { class: "when" }, clockOf(timeOf(post))), statusBadge(post.status)),
    make("button", { type: "button", class: "open", "data-key": `post ${post.id}`, onclick: () => openPost(post), "aria-label": null }, userText(shorten(post.content, 140) || "No text")),
    (post.thread_parts > 0 || post.media > 0) && make("p", { class: "small" }, [post.thread_parts > 0 && `Thread of ${post.thread_parts + 1}`, post.media > 0 && `${post.media} media`].filter(Boolean).join(" · ")),
    accountList(post.accounts, 2),
  );
  if (movable) makeDraggable(card, post);
  return card;
}

function proposalView(entry) {
  return make(
    "article",
    { class: "card c-planned" },
    make("p", { class: "head" }, make("span", { class: "when" }, clockOf(entry.scheduled_at)), statusBadge("planned")),
    userText(shorten(entry.content ?? `Post ${entry.index}`, 140), { class: "preview" }),
    accountList(entry.accounts, 2),
    make("p", { class: "small" }, userText(entry.reason)),
    entry.warnings.map((warning) => make("p", { class: "small" }, "Warning: ", userText(warning))),
    canCall() && state.plan.posts && button("Drop", `drop ${entry.index}`, () => dropPost(entry), { "aria-label": `Drop post ${entry.index} from the plan`, disabled: Boolean(acting.busy) }),
  );
}

function monthView() {
  const days = byDay();
  const shown = shownDays();
  const month = state.anchor.slice(0, 7);
  return [
    make("div", { class: "weekdays", "aria-hidden": "true" }, shown.slice(0, 7).map((day) => make("span", {}, weekdayOf(day).slice(0, 3)))),
    make("ol", { class: "month", "aria-label": "Days", "aria-busy": String(state.loading) }, shown.map((day) => cellView(day, days.get(day) ?? [], month))),
    !state.loading && !state.loadFailure && !shown.some((day) => days.has(day)) && emptyView("No posts this month", "Ask in the chat to write or plan some."),
  ];
}

function cellView(day, posts, month) {
  const kind = `${day === state.today ? " today" : ""}${day.slice(0, 7) === month ? "" : " outside"}${posts.length ? "" : " bare"}`;
  const more = posts.length - SHOWN_IN_CELL;
  return make(
    "li",
    { class: `cell${kind}`, "data-day": day },
    make("h2", {}, button([make("span", { class: "weekday" }, weekdayOf(day).slice(0, 3)), String(Number(day.slice(8)))], `day ${day}`, () => change("week", day), { "aria-label": `Week of ${showDay(day, "long")}` }), day === state.today && make("span", { class: "pill" }, "Today")),
    posts.slice(0, more === 1 ? SHOWN_IN_CELL + 1 : SHOWN_IN_CELL).map(lineView),
    more > 1 && button(`${more} more`, `more ${day}`, () => change("week", day), { class: "more", "aria-label": `${more} more on ${showDay(day, "long")}` }),
  );
}

function lineView(post) {
  const movable = !post.planned && canMove(post);
  const show = () => (post.planned ? change("week", dayOf(timeOf(post))) : openPost(post));
  const line = make(
    "button",
    { type: "button", class: `line${movable ? " movable" : ""}`, "data-key": `post ${post.id ?? `plan ${post.index}`}`, onclick: show },
    statusBadge(post.status),
    make("time", {}, clockOf(timeOf(post))),
    userText(shorten(post.content ?? `Post ${post.index}`, 60)),
  );
  if (movable) makeDraggable(line, post);
  return line;
}

// One post.

async function openPost(post) {
  if (!canCall()) {
    state.open = { ...post, thread: [], results: post.failures ?? [] };
  } else {
    announce("Loading the post.");
    const answer = await readPost(post.id);
    Object.assign(acting, { notice: null, confirm: null });
    if (answer.ok) state.open = answer.data;
    else acting.notice = { ok: false, title: "Post not opened", text: answer.text };
  }
  render();
  focusOn(state.open ? "heading" : "notice");
}

function closePost() {
  const id = state.open.id;
  Object.assign(acting, { ask: null, notice: null, confirm: null });
  state.open = null;
  render();
  focusOn(`post ${id}`);
}

function detailView(post) {
  return make(
    "article",
    { class: "post" },
    make("header", { class: "title" },
      make("h1", { tabindex: "-1", "data-key": "heading" }, timeOf(post) ? showTime(timeOf(post)) : "No time yet"),
      button([drawShape("back"), "Calendar"], "back", closePost)),
    make("p", { class: "row" }, statusBadge(post.status), make("span", { class: "small" }, `Times in ${ZONE}`)),
    accountList(post.accounts, 20),
    textView(post),
    cutView(post),
    mediaView(post.media_urls),
    resultsView(post.results),
    actionsView(post, moved, cancelled),
  );
}

async function moved(answer) {
  state.open = null;
  if (answer.data.scheduled_at) state.anchor = dayOf(answer.data.scheduled_at);
  await load();
}

async function cancelled() {
  state.open = null;
  await load();
}

render();
startPanel("calendar", handlers);
