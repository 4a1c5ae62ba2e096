// The moving numbers, local times, and how fresh everything is.
const language = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const plain = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const STALE_AFTER = 15;

export function showFigures(moving) {
  for (const figure of moving.figures) {
    const tile = document.querySelector(`[data-figure="${CSS.escape(figure.id)}"]`);
    if (!tile) continue;
    set(tile.querySelector("[data-value]"), figure.value);
    set(tile.querySelector("[data-unit]"), figure.unit);
    set(tile.querySelector("[data-detail]"), figure.detail);
    tile.querySelector("[data-spark]")?.setAttribute("d", figure.spark);
    tile.querySelector(".tile-value")?.toggleAttribute("data-empty", figure.empty);
    const state = tile.querySelector("[data-state]");
    if (!state) continue;
    tile.className = `tile tone-${figure.tone}`;
    state.className = `dot tone-${figure.tone}`;
    state.hidden = !figure.state;
    state.title = figure.state;
    set(state.querySelector(".unseen"), figure.state);
    state.querySelector("path")?.setAttribute("d", figure.icon);
  }
  const fresh = document.querySelector("[data-fresh]");
  if (fresh && moving.data_as_of) fresh.dataset.fresh = moving.data_as_of;
}

function set(element, text) { if (element && element.textContent !== text) element.textContent = text; }

export function tick() {
  for (const time of document.querySelectorAll("time[data-local]:not([data-done])")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = (time.dataset.local === "clock" ? clock : day).format(at);
    time.dataset.done = "";
  }
  for (const since of document.querySelectorAll("[data-since]")) {
    const seconds = Math.max(0, (Date.now() - Date.parse(since.dataset.since)) / 1000);
    since.textContent = span(seconds);
  }
  const fresh = document.querySelector("[data-fresh]");
  if (fresh?.dataset.fresh) {
    const age = Math.max(0, Math.round((Date.now() - Date.parse(fresh.dataset.fresh)) / 1000));
    fresh.dataset.stale = String(age > STALE_AFTER);
    fresh.dataset.words ??= fresh.textContent.replace(/\d{2}:\d{2}:\d{2}$/, "");
    fresh.textContent = fresh.dataset.words + (age < 60 ? relative.format(-age, "second") : relative.format(-Math.round(age / 60), "minute"));
  }
}

function span(seconds) {
  const unit = (value, name) => new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: 0 }).format(value);
  if (seconds < 120) return unit(seconds, "second");
  if (seconds < 7200) return unit(seconds / 60, "minute");
  return unit(seconds / 3600, "hour");
}

// A value in its unit, as the server writes it.
export function shown(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (unit === "bytes" || unit === "bytes/s") {
    const names = language === "ru" ? ["Б", "КиБ", "МиБ", "ГиБ", "ТиБ"] : ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (Math.abs(value) >= 1024 && at + 1 < names.length) { value /= 1024; at += 1; }
    return `${plain.format(value)}\u202f${names[at]}${unit === "bytes/s" ? (language === "ru" ? "/с" : "/s") : ""}`;
  }
  if (unit === "ms") return value < 1000 ? `${plain.format(value)}\u202f${language === "ru" ? "мс" : "ms"}` : `${plain.format(value / 1000)}\u202f${language === "ru" ? "с" : "s"}`;
  const name = language === "ru" ? { "/s": "/с", "/min": "/мин", "/h": "/ч", s: "с" }[unit] ?? unit : unit;
  return name ? `${plain.format(value)}\u202f${name}` : plain.format(value);
}
