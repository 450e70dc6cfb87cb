// A plan in the calendar: apply it, or drop one of its posts.

function planView() {
  const plan = state.plan;
  if (!plan) return null;
  const title = plan.planned.length ? `${count(plan.planned.length, "post")} proposed` : "The plan is empty";
  return make(
    "section",
    { class: "notice", "aria-label": "Plan" },
    make("h2", {}, title),
    make("p", { class: "small" }, plan.id ? `Plan ${plan.id}. Nothing is scheduled yet.` : "Nothing is scheduled."),
    plan.unplanned.length > 0 && make("ul", { class: "unplanned", "aria-label": "Without a time" }, plan.unplanned.map((entry) => make("li", {}, `Post ${entry.index} has no time: `, userText(entry.reason)))),
    canCall() && make("div", { class: "row" },
      plan.id && plan.planned.length > 0 && button(`Schedule ${count(plan.planned.length, "post")}`, "apply", applyPlan, { class: "primary", disabled: Boolean(acting.busy) }),
      button("Close the plan", "close-plan", closePlan)),
  );
}

function closePlan() {
  state.plan = null;
  render();
  focusOn("heading");
}

function applyPlan() {
  act("Schedule the plan", "apply_plan", { plan_id: state.plan.id }, async (answer) => {
    if (answer.data.complete) state.plan = null;
    await load();
  });
}

// A plan can't be changed, so the posts that stay are planned again, each at the time that was shown.
function dropPost(dropped) {
  const kept = state.plan.planned.filter((entry) => entry.index !== dropped.index);
  if (!kept.length) {
    state.plan = null;
    acting.notice = { ok: true, title: "The plan is empty", text: "Nothing is scheduled." };
    tellModel(`The user dropped the only post of plan ${dropped.plan_id ?? ""}.`, "The plan is empty.");
    render();
    focusOn("notice");
    return;
  }
  const posts = kept.map((entry) => {
    const { earliest, latest, scheduledAt, ...rest } = state.plan.posts[entry.index - 1];
    return { ...rest, scheduled_at: entry.scheduled_at };
  });
  const args = { ...state.plan.args, posts };
  act(`Drop post ${dropped.index}`, "plan_posts", args, (answer) => showPlan(answer.data, args));
}
