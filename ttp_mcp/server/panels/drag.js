// Drag a post to another day and hour. The drop only fills in the form: nothing is sent without a click.

const DRAG_PIXELS = 6;

function makeDraggable(element, post) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || acting.busy) return;
    const drag = { post, x: event.clientX, y: event.clientY, ghost: null, over: null, time: null, givenUp: false };
    const listening = new AbortController();
    const on = (name, listener) => window.addEventListener(name, listener, { signal: listening.signal });
    const end = () => {
      listening.abort();
      endDrag(drag);
    };
    on("pointermove", (moving) => followDrag(drag, moving));
    on("keydown", (pressed) => pressed.key === "Escape" && giveUpDrag(drag));
    on("pointerup", end);
    on("pointercancel", () => {
      giveUpDrag(drag);
      end();
    });
  });
}

function followDrag(drag, event) {
  if (drag.givenUp) return;
  if (!drag.ghost) {
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < DRAG_PIXELS) return;
    drag.ghost = make("div", { class: "ghost", "aria-hidden": "true" });
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
  }
  event.preventDefault();
  const day = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-day]");
  drag.over?.classList.remove("over");
  drag.over = day;
  day?.classList.add("over");
  drag.time = day && { day: day.dataset.day, clock: clockAt(day, drag.post, event.clientY) };
  drag.ghost.textContent = drag.time ? `${showDay(drag.time.day, "day")}, ${drag.time.clock}` : "Drop it on a day";
  drag.ghost.style.left = `${Math.min(event.clientX + 14, window.innerWidth - drag.ghost.offsetWidth - 4)}px`;
  drag.ghost.style.top = `${event.clientY + 14}px`;
}

// In a week the height within the day is the hour; in a month the clock time stays.
function clockAt(day, post, y) {
  const clock = clockOf(timeOf(post));
  if (state.view === "month") return clock;
  const box = day.getBoundingClientRect();
  const hour = Math.min(23, Math.max(0, Math.floor((24 * (y - box.top)) / box.height)));
  return `${String(hour).padStart(2, "0")}:${clock.slice(3)}`;
}

function giveUpDrag(drag) {
  drag.givenUp = true;
  drag.time = null;
  drag.ghost?.remove();
  drag.over?.classList.remove("over");
  document.body.classList.remove("dragging");
}

function endDrag(drag) {
  if (!drag.ghost) return;
  const { post, time } = drag;
  giveUpDrag(drag);
  // The click that ends a drag must not open the post.
  window.addEventListener("click", (event) => event.stopPropagation(), { capture: true, once: true });
  setTimeout(() => window.dispatchEvent(new Event("click")), 0);
  if (time) askTime(post, time.day, time.clock, moved);
}
