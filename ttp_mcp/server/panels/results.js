// Results: the best times as a heat map, posts by a figure, and totals. It reads; nothing here changes anything.

const FIGURES = ["impressions", "views", "likes", "comments", "shares", "saves", "clicks", "rate"];
const DAYS = [...WEEKDAYS.slice(1), WEEKDAYS[0]];
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const HEATS = 5;
// Of a reply whose shape the API doesn't document.
const MOST_NUMBERS = 60;
const DEEPEST = 4;

const state = {
  phase: "loading", // loading, ready, cancelled, failed, alone
  failure: "",
  args: {},
  kind: null, // times, posts, summary
  data: null,
  loading: false,
  loadFailure: null,
};

// What the host says.

const handlers = {
  onInput: (args) => {
    state.args = args;
  },
  onResult: (result) => {
    if (!result.ok) Object.assign(state, { phase: "failed", failure: result.text });
    else {
      const { data } = result;
      Object.assign(state, { phase: "ready", data, kind: data.best_hours ? "times" : data.totals ? "posts" : "summary" });
    }
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

// Draw.

function render() {
  if (state.phase !== "ready") draw(phaseView(state, "Loading the results…"));
  else draw({ times: timesView, posts: postsView, summary: summaryView }[state.kind]());
}

function headingView(title, ...words) {
  return make("header", { class: "title" }, make("div", {}, make("h1", { tabindex: "-1", "data-key": "heading" }, title), make("p", { class: "sub" }, words)));
}

// The best times.

function timesView() {
  const { best_hours: hours, best_days: days, data_points: points, message } = state.data;
  const platform = typeof state.args.platform === "string" && state.args.platform;
  const from = points === undefined ? "" : `From ${count(points, "data point")}. `;
  if (!hours.length && !days.length) return [headingView("Best times"), emptyView("Not enough posts yet", "Publish some, then ask again."), said(message)];
  return [
    headingView(["Best times", platform && [" on ", userText(platformName(platform.toLowerCase()))]], `${from}The API does not state the time zone.`),
    heatView(hours, days),
    make("div", { class: "columns" }, rankView("Hours", hours.map(({ hour, score }) => [`${String(hour).padStart(2, "0")}:00`, score])), rankView("Weekdays", days.map(({ day, score }) => [day, score]))),
    said(message),
  ];
}

// Days and hours are two rankings; a cell is the product of both scores.
function heatView(hours, days) {
  const hourScores = new Map(hours.map(({ hour, score }) => [hour, score]));
  const dayScores = new Map(days.map(({ day, score }) => [String(day).toLowerCase(), score]));
  const scoreOf = (day, hour) => (days.length ? (dayScores.get(day.toLowerCase()) ?? 0) : 1) * (hours.length ? (hourScores.get(hour) ?? 0) : 1);
  const rows = DAYS.map((day) => make("div", { class: "heat-row" }, make("span", { class: "heat-day" }, day.slice(0, 3)), HOURS.map((hour) => make("span", { class: `heat h${heatOf(scoreOf(day, hour))}` }))));
  const scale = make("div", { class: "heat-row scale" }, make("span", {}), HOURS.map((hour) => make("span", {}, hour % 6 ? "" : String(hour).padStart(2, "0"))));
  return make(
    "figure",
    { class: "heat-map" },
    make("div", { role: "img", "aria-label": "Heat map of weekdays and hours; the rankings below have its figures." }, rows, scale),
    make("figcaption", { class: "small" }, "Each square multiplies the score of its weekday with that of its hour. Empty: not among the best. ", legendView()),
  );
}

function heatOf(score) {
  return score > 0 ? Math.max(1, Math.min(HEATS, Math.ceil(score * HEATS))) : 0;
}

function legendView() {
  return make("span", { class: "legend", "aria-hidden": "true" }, "less", Array.from({ length: HEATS }, (_, heat) => make("span", { class: `heat h${heat + 1}` })), "more");
}

function rankView(title, entries) {
  if (!entries.length) return null;
  return make("section", {}, make("h2", {}, title), barsView(entries.map(([name, score]) => ({ name, value: score, words: score.toFixed(2) }))));
}

// Bars: a name, a figure in words, and a length. The length is for the eyes alone.
function barsView(entries) {
  const most = Math.max(...entries.map(({ value }) => value ?? 0), 0);
  return make("ol", { class: "bars" }, entries.map((entry) => barView(entry, most)));
}

function barView({ name, value, words, more }, most) {
  const fill = make("div", { class: "fill" });
  fill.style.width = `${most > 0 ? Math.max(value > 0 ? 1 : 0, (100 * (value ?? 0)) / most) : 0}%`;
  return make("li", {}, make("p", { class: "bar-head" }, userText(name, { class: "bar-name" }), make("b", {}, words)), make("div", { class: "meter", "aria-hidden": "true" }, fill), more);
}

function said(message) {
  return message && make("p", { class: "small" }, "The API says: ", userText(message));
}

// Results of posts.

function postsView() {
  const { posts, totals, sorted_by: by, missing } = state.data;
  const waiting = posts.filter((post) => !post.figures).length;
  return [
    headingView("Results of posts", `Since each was published, as of the last sync. Times in ${ZONE}`),
    chooserView(by),
    state.loadFailure && noticeView({ ok: false, title: "Results not loaded", text: state.loadFailure }),
    totals.figures && tilesView(totals.figures, totals.posts),
    posts.length ? make("section", {}, make("h2", {}, `Most ${nameOf(by)}`), barsView(posts.map((post) => postBar(post, by)))) : emptyView("No post was published in that time", "Ask for another time in the chat."),
    waiting > 0 && make("p", { class: "small" }, `${count(waiting, "post")} without figures yet, which is not zero.`),
    make("div", { class: "columns" }, groupsView("Platforms", totals.platforms, by), groupsView("Accounts", totals.accounts, by)),
    missing.length > 0 && make("section", { class: "notice" }, make("h2", {}, "Missing"), make("ul", {}, missing.map((each) => make("li", {}, userText([each.post_id, each.reason].filter(Boolean).join(": ")))))),
  ];
}

function chooserView(by) {
  if (!canCall()) return null;
  return make(
    "div",
    { class: "row chooser", role: "group", "aria-label": "Figure", "aria-busy": String(state.loading) },
    FIGURES.map((figure) => button(capitalize(nameOf(figure)), `by ${figure}`, () => sortBy(figure), { "aria-pressed": String(figure === by) })),
  );
}

async function sortBy(figure) {
  if (state.loading) return;
  state.loading = true;
  render();
  const answer = await callTool("post_results", { ...state.args, sort_by: figure });
  Object.assign(state, { loading: false, loadFailure: answer.ok ? null : answer.text });
  if (answer.ok) state.data = answer.data;
  announce(answer.ok ? `Sorted by ${nameOf(figure)}.` : "Results not loaded.");
  render();
}

function nameOf(figure) {
  return figure === "rate" ? "engagement rate" : figure;
}

function capitalize(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function showFigure(figure, value) {
  if (value === undefined || value === null) return "not known";
  if (figure !== "rate") return showNumber(value);
  return value <= 1 ? `${(100 * value).toFixed(1)} %` : String(value);
}

function showNumber(value) {
  const [whole, part] = String(value).split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part.slice(0, 2)}` : "");
}

function tilesView(figures, posts) {
  const tiles = FIGURES.filter((figure) => figures[figure] !== undefined).map((figure) => [capitalize(nameOf(figure)), showFigure(figure, figures[figure])]);
  return make("dl", { class: "tiles", "aria-label": "Totals" }, [["Posts", showNumber(posts)], ...tiles].map(([name, words]) => make("div", {}, make("dt", {}, name), make("dd", {}, words))));
}

function postBar(post, by) {
  const value = post.figures?.[by];
  const accounts = post.accounts.length ? post.accounts.map((each) => each.account) : post.platforms;
  return {
    name: post.text || "No text",
    value,
    words: post.figures ? showFigure(by, value) : "no figures yet",
    more: make("div", { class: "bar-foot" }, post.published_at && make("span", { class: "small" }, showTime(post.published_at)), accountList(accounts), post.link && linkView(post.link, "Open post")),
  };
}

function groupsView(title, groups, by) {
  if (groups.length < 2) return null;
  const entries = groups.map((group) => ({ name: showLabel(group.name), value: group.figures[by], words: `${showFigure(by, group.figures[by])}, ${count(group.posts, "post")}` }));
  return make("section", {}, make("h2", {}, title), barsView(entries));
}

// The organization's total: whatever numbers the reply has.

function summaryView() {
  const groups = collectNumbers(state.data.reply ?? {});
  return [
    headingView("Engagement", "As the API sent it; it does not state the period."),
    groups.length ? groups.map(({ title, entries }) => make("section", {}, make("h2", {}, userText(title)), barsView(entries.map(([name, value]) => ({ name, value, words: showNumber(value) }))))) : emptyView("No figures", "The API sent none."),
  ];
}

// The numbers of an object are one group, named by its place in the reply.
function collectNumbers(reply) {
  const groups = [];
  let left = MOST_NUMBERS;
  const visit = (value, title, depth) => {
    const numbers = Object.entries(value).filter(([, each]) => Number.isFinite(each)).slice(0, left);
    left -= numbers.length;
    if (numbers.length) groups.push({ title: title || "Total", entries: numbers.map(([name, each]) => [spell(name), each]) });
    if (depth === DEEPEST) return;
    for (const [name, each] of Object.entries(value)) if (each && typeof each === "object") visit(each, [title, spell(name)].filter(Boolean).join(" · "), depth + 1);
  };
  visit(reply, "", 0);
  return groups;
}

function spell(name) {
  return capitalize(name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase());
}

render();
startPanel("results", handlers);
