// Live tail: new lines on top, as text and never as markup.
const LINES_MAX = 500;
const LEVELS = { error: "error", fatal: "error", warn: "warn", debug: "debug", trace: "debug" };

export function startTail() {
  const button = document.querySelector("[data-tail]");
  const lines = document.querySelector("[data-lines]");
  const start = button.textContent;
  let source = null;
  button.hidden = false;
  button.addEventListener("click", () => {
    if (source) { source.close(); source = null; button.textContent = start; return; }
    button.textContent = button.dataset.stop;
    source = new EventSource(button.dataset.tail);
    source.addEventListener("log", (event) => {
      lines.prepend(row(JSON.parse(event.data)));
      while (lines.childElementCount > LINES_MAX) lines.lastElementChild.remove();
    });
  });
  addEventListener("pagehide", () => source?.close());
}

function row(line) {
  const details = element("details", `log-row level-${LEVELS[line.level] ?? "info"}`);
  const summary = element("summary", "");
  const time = element("time", "", new Date(line.at).toLocaleTimeString(document.documentElement.lang, { hourCycle: "h23" }));
  summary.append(time, element("span", "level", line.level), element("span", "log-from", line.release ?? line.service ?? "–"), element("span", "log-body", line.body));
  const facts = element("dl", "facts small");
  const stamped = { service: line.service, environment: line.environment, release: line.release, instance: line.instance, trace_id: line.trace_id, ...line.attributes };
  for (const [name, value] of Object.entries(stamped)) if (value) facts.append(element("dt", "", name), element("dd", "", value));
  details.append(summary, facts);
  return details;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
