// One stream per tab. "changed" makes the regions of this page render again on the server; "figures"
// carries the moving numbers. A hidden tab closes its stream and resumes where it was.
const REFRESH_EVERY = 700;

export function listen({ figures, refreshed, reopened }) {
  const words = document.body.dataset;
  const mark = document.querySelector("[data-live-mark]");
  let source = null;
  let last = null;
  let due = 0;
  let timer = 0;
  let busy = false;

  const say = (state, text) => { if (mark) { mark.dataset.live = state; mark.textContent = text; } };

  function address() {
    const query = new URLSearchParams({ topics: words.topics });
    const charts = document.querySelector("[data-figures]")?.dataset.charts;
    if (charts) {
      query.set("figures", "1");
      for (const [name, value] of new URL(charts, location.href).searchParams) query.set(name, value);
    }
    if (last) query.set("last", last);
    return `/live?${query}`;
  }

  function open() {
    source = new EventSource(address());
    const note = (event) => { if (event.lastEventId) last = event.lastEventId; };
    source.addEventListener("open", (event) => { note(event); say("on", words.wordsLive); });
    source.addEventListener("changed", (event) => { note(event); refresh(); });
    source.addEventListener("figures", (event) => { note(event); figures(JSON.parse(event.data)); });
    source.onerror = () => {
      say("off", words.wordsReconnecting);
      // The browser tries again by itself, unless the server refused.
      if (source.readyState === EventSource.CLOSED) { close(); setTimeout(() => { if (!document.hidden && !source) open(); }, 5000); }
    };
  }

  function close() { source?.close(); source = null; }

  function refresh() {
    if (busy) { due = 1; return; }
    clearTimeout(timer);
    timer = setTimeout(run, 30);
  }

  async function run() {
    busy = true;
    due = 0;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
      if (answer.ok) replaceRegions(new DOMParser().parseFromString(await answer.text(), "text/html"));
      refreshed();
    } catch { /* The stream tells when the server is back. */ }
    setTimeout(() => { busy = false; if (due) refresh(); }, REFRESH_EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); say("off", words.wordsPaused); } else if (!source) { open(); reopened(); }
  });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}

function replaceRegions(fresh) {
  for (const region of document.querySelectorAll("[data-region]")) {
    const next = fresh.querySelector(`[data-region="${CSS.escape(region.dataset.region)}"]`);
    if (!next || next.innerHTML === region.dataset.shown) continue;
    // Whoever is writing into a form is not disturbed.
    if (region.querySelector("details.act[open]") || region.contains(document.activeElement) && document.activeElement.matches("input, select")) continue;
    region.dataset.shown = next.innerHTML;
    const open = new Set([...region.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent));
    const log = region.querySelector(".log");
    const atEnd = !log || log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const top = log?.scrollTop ?? 0;
    region.replaceChildren(...next.childNodes);
    for (const summary of region.querySelectorAll("details > summary")) if (open.has(summary.textContent)) summary.parentElement.open = true;
    const fill = region.querySelector(".log");
    if (fill) fill.scrollTop = atEnd ? fill.scrollHeight : top;
  }
}
