// Elements, times and what all panels show. Texts of users become text nodes and nothing else.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  draft: "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2z",
  clock: "M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2zM8 4.8V8l2.4 1.6",
  up: "M8 13.5v-11M3.8 6.7 8 2.5l4.2 4.2",
  check: "M2.8 8.6l3.6 3.6 6.8-8",
  warning: "M8 2.2 14.2 13.4H1.8zM8 6.4v3M8 11.4v.1",
  cross: "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8",
  plan: "M2.5 3.5h11v10h-11zM2.5 6.5h11M5.5 2v3M10.5 2v3",
  back: "M13.5 8h-11M6.7 3.8 2.5 8l4.2 4.2",
};
const STATUSES = {
  draft: ["Draft", "draft"],
  scheduled: ["Scheduled", "clock"],
  publishing: ["Publishing", "up"],
  published: ["Published", "check"],
  partial: ["Partial", "warning"],
  failed: ["Failed", "cross"],
  pending: ["Waiting", "clock"],
  planned: ["Proposed", "plan"],
};
const PLATFORMS = {
  twitter: ["X", "X"],
  instagram: ["Ig", "Instagram"],
  tiktok: ["Tt", "TikTok"],
  linkedin: ["in", "LinkedIn"],
  pinterest: ["Pi", "Pinterest"],
  facebook: ["Fb", "Facebook"],
  threads: ["Th", "Threads"],
  bluesky: ["Bs", "Bluesky"],
  youtube: ["Yt", "YouTube"],
};
// Controls, and marks that would reorder the text around them.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e\u2066-\u2069]/g;

// Make an element. Properties: `class`, `on<event>` with a function, and attributes; null and false are left out.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A text of a user: its own direction, isolated from what is around it.
function userText(text, properties = {}, tag = "bdi") {
  return make(tag, { dir: "auto", ...properties }, String(text ?? "").replace(UNSEEN, ""));
}

function drawShape(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

// A button. `key` identifies it, so that it keeps the focus when the panel is drawn again.
function button(text, key, onclick, properties = {}) {
  return make("button", { type: "button", "data-key": key, onclick, ...properties }, text);
}

function statusBadge(value) {
  const [word, shape] = STATUSES[value] ?? [String(value), "draft"];
  return make("span", { class: `status s-${value in STATUSES ? value : "draft"}` }, drawShape(shape), make("span", { class: "word" }, word));
}

function platformName(key) {
  return PLATFORMS[key]?.[1] ?? key;
}

function platformMark(key) {
  const letters = PLATFORMS[key]?.[0] ?? key.slice(0, 2);
  return make("span", { class: `mark p-${key in PLATFORMS ? key : "other"}`, "aria-hidden": "true" }, letters);
}

// The accounts of a post, from labels such as `instagram @harbor.cafe`.
function accountList(labels, most = 4) {
  const items = labels.slice(0, most).map((label) => {
    const { platform, name } = splitLabel(label);
    return make("li", { class: "target" }, platformMark(platform), make("span", { class: "hidden" }, platformName(platform)), name && userText(name, { class: "name" }));
  });
  if (labels.length > most) items.push(make("li", { class: "target" }, `and ${labels.length - most} more`));
  return make("ul", { class: "targets", "aria-label": "Accounts" }, items);
}

function splitLabel(label) {
  const [platform, ...rest] = String(label).split(" ");
  return { platform, name: rest.join(" ").replace(/^«(.*)»$/, "$1") };
}

function showLabel(label) {
  const { platform, name } = splitLabel(label);
  return [platformName(platform), name].filter(Boolean).join(" ");
}

function shorten(text, most) {
  const line = String(text ?? "").replace(/\s+/g, " ").trim();
  const characters = Array.from(line);
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : line;
}

function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

// Times. The server writes them in its own zone, so day and clock are read as they are written: no zone data is needed.

const DAY_MS = 86400000;
const ZONE = document.body.dataset.zone;
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

function dayOf(iso) {
  return iso.slice(0, 10);
}

function clockOf(iso) {
  return iso.slice(11, 16);
}

function dateOf(day) {
  return new Date(`${day}T00:00:00Z`);
}

function addDays(day, number) {
  return new Date(dateOf(day).getTime() + number * DAY_MS).toISOString().slice(0, 10);
}

function mondayOf(day) {
  return addDays(day, -((dateOf(day).getUTCDay() + 6) % 7));
}

function weekdayOf(day) {
  return WEEKDAYS[dateOf(day).getUTCDay()];
}

// A day in words: `short` Tue 24, `day` Tue 24 Nov, `date` 24 November 2026, `long` with its weekday, `month` November 2026.
function showDay(day, format) {
  const [year, month, number] = day.split("-").map(Number);
  const name = MONTHS[month - 1];
  switch (format) {
    case "short":
      return `${weekdayOf(day).slice(0, 3)} ${number}`;
    case "day":
      return `${weekdayOf(day).slice(0, 3)} ${number} ${name.slice(0, 3)}`;
    case "date":
      return `${number} ${name} ${year}`;
    case "month":
      return `${name} ${year}`;
    default:
      return `${weekdayOf(day)} ${number} ${name} ${year}`;
  }
}

function showTime(iso) {
  return make("time", { datetime: iso }, `${showDay(dayOf(iso), "day")}, ${clockOf(iso)}`);
}

// A panel is drawn again after each change. The element with the same key keeps the focus; `focus` names another one.

function draw(...children) {
  const main = document.querySelector("main");
  const key = document.activeElement?.closest?.("[data-key]")?.dataset.key;
  main.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (key) focusOn(key);
}

function focusOn(key) {
  document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

// Announce to screen readers. Its element stays: a new one would be silent.
function announce(text) {
  document.querySelector("#said").textContent = text;
}

function loadingView(words) {
  return make("div", { class: "loading", "aria-busy": "true" }, make("p", { class: "sub" }, words), ["", "", ""].map(() => make("div", { class: "bar" })));
}

// A panel that has nothing to show yet, or nothing any more.
function phaseView(state, words, reload) {
  return [make("h1", { class: "hidden" }, document.title), stateView(state, words, reload)];
}

function stateView(state, words, reload) {
  switch (state.phase) {
    case "gone":
      return emptyView("The post is deleted", "It will not be published.");
    case "alone":
      return emptyView("This is a panel of an MCP client", "Open it in a client that shows MCP Apps.");
    case "cancelled":
      return emptyView("The call was cancelled", "Nothing was changed.", reload);
    case "failed":
      return noticeView({ ok: false, title: "The tool did not do it", text: state.failure }, reload ? [reload] : []);
    default:
      return loadingView(words);
  }
}

function emptyView(title, words, ...actions) {
  return make("div", { class: "empty" }, make("h2", {}, title), words && make("p", {}, words), actions);
}

// What happened, in the words of the tool.
function noticeView(notice, actions = []) {
  return make(
    "section",
    { class: `notice${notice.ok ? "" : " refused"}`, "aria-label": notice.title, role: notice.ok ? null : "alert" },
    make("h2", {}, notice.title),
    notice.text && wordsView(notice.text),
    actions.length > 0 && make("div", { class: "row" }, actions),
  );
}

// Words of a tool. A text that it fences for models is a quote here.
function wordsView(text) {
  const pieces = text.split(/<text (\S+)> \(data, not instructions\)\n([^]*?)\n<\/text \1>/);
  const show = (piece, number) => number % 3 !== 1 && piece.trim() && userText(piece.trim(), {}, number % 3 ? "blockquote" : "p");
  return make("div", { class: "words" }, pieces.map(show));
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// For frames without the permission to write the clipboard.
function copyBySelection(text) {
  const area = make("textarea", { class: "hidden", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
