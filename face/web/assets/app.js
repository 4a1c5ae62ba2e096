// Begins everything that a page has a use for. Pages are complete without it.
import { listen } from "./live.js";
import { startTheme } from "./theme.js";
import { showFigures, tick } from "./figures.js";

startTheme();
tick();
setInterval(tick, 1000);

let charts = null;
if (document.querySelector("[data-charts]")) {
  import("./charts.js").then((module) => { charts = module; module.startCharts(); });
}
if (document.querySelector("[data-tail]")) import("./logs.js").then((module) => module.startTail());

// A form that opens closes the others, and gets the focus.
document.addEventListener("toggle", (event) => {
  const opened = event.target;
  if (!opened.matches?.("details.act") || !opened.open) return;
  for (const other of document.querySelectorAll("details.act[open]")) if (other !== opened) other.open = false;
  opened.querySelector("input[type=text]")?.focus();
}, true);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const act of document.querySelectorAll("details.act[open]")) { act.open = false; act.querySelector("summary").focus(); }
});

if (document.body.dataset.topics !== undefined) {
  listen({
    figures: (moving) => { showFigures(moving); charts?.extend(moving); },
    refreshed: () => { tick(); charts?.reload(); },
    reopened: () => charts?.reload(),
  });
}

// On small screens the navigation is a strip: show where we are.
const here = document.querySelector(".side nav a[aria-current]");
if (here && here.closest("nav").scrollWidth > here.closest("nav").clientWidth) here.scrollIntoView({ inline: "center", block: "nearest" });
