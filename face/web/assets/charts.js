// Draws the server's charts again with a cursor and zoom. All charts share one cursor; brushing one
// zooms all, a double click returns; the zoom lives in the address.
import uPlot from "./vendor/uPlot.esm.js";
import { shown } from "./figures.js";

const drawn = new Map();
const sync = uPlot.sync("time");
let markers = [];
let zoom = readZoom();

export async function startCharts() {
  const container = document.querySelector("[data-charts]");
  for (const chart of await load(container)) draw(container, chart);
  addEventListener("themechange", () => { for (const one of drawn.values()) one.plot.redraw(); });
  addEventListener("resize", () => { for (const one of drawn.values()) one.plot.setSize(size(one.host)); });
}

async function load(container) {
  if (!container?.dataset.charts) return [];
  const answer = await fetch(container.dataset.charts, { headers: { accept: "application/json" } });
  if (!answer.ok) return [];
  const data = await answer.json();
  markers = (data.markers ?? await marked(container.dataset.markers)).map((marker) => ({ at: Date.parse(marker.at) / 1000, kind: marker.kind }));
  return data.charts ?? matrix(data);
}

// What happened meanwhile, when the charts' own answer does not tell.
async function marked(source) {
  if (!source) return [];
  const answer = await fetch(source, { headers: { accept: "application/json" } });
  return answer.ok ? (await answer.json()).markers : [];
}

// Reads everything again: after a pause, when a change may have brought new marks, and when a line
// appears or goes (a release that begins or ends to serve).
let reloading = 0;
export function reload() {
  reloading ||= setTimeout(async () => {
    const container = document.querySelector("[data-charts]");
    try {
      for (const chart of await load(container)) {
        drawn.get(chart.id)?.plot.destroy();
        drawn.delete(chart.id);
        draw(container, chart);
      }
    } catch { /* The next change tries again. */ }
    reloading = 0;
  }, 1500);
}

// A Prometheus answer as one chart.
function matrix(answer) {
  const series = (answer.data?.result ?? []).slice(0, 8).map((one) => ({
    name: null, points: one.values.map(([at, value]) => [at * 1000, Number.isFinite(+value) ? +value : null]),
  }));
  return series.length ? [{ id: "query", unit: "", series }] : [];
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const size = (host) => ({ width: Math.max(120, host.clientWidth), height: Math.max(100, host.clientHeight) });

// Times of an axis, with seconds where minutes would repeat themselves.
function clock(ticks) {
  const form = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (ticks[1] - ticks[0] < 60) form.second = "2-digit";
  return ticks.map((at) => new Date(at * 1000).toLocaleTimeString(document.documentElement.lang, form));
}

function draw(container, chart) {
  const figure = container.querySelector(`[data-chart="${CSS.escape(chart.id)}"]`);
  const host = figure?.querySelector("[data-plot]");
  if (!host || !chart.series.length) return;
  legend(figure, chart);
  const one = { host, figure, unit: chart.unit, names: chart.series.map((series) => series.name), series: chart.series.map((series) => new Map(series.points)), objective: chart.objective, range: container.dataset.range?.split(" ").map((at) => at / 1000) };
  const dashes = [[], [5, 3], [2, 2], [8, 3, 2, 3]];
  const axis = { stroke: () => color("--ink-3"), font: "11px Inter, sans-serif", ticks: { show: false }, grid: { stroke: () => color("--rule"), width: 1 } };
  const options = {
    ...size(host),
    padding: [6, 14, 0, 0],
    cursor: { sync: { key: sync.key, setSeries: false }, drag: { x: true, y: false, setScale: false }, points: { size: 6 },
      bind: { dblclick: () => () => { zoomAll(null); return null; } } },
    legend: { show: false },
    scales: { x: { time: true, range: (_, least, most) => zoom ?? one.range ?? [least, most] }, y: { range: (_, least, most) => [Math.min(0, least ?? 0), (Math.max(most ?? 0, one.objective ?? 0) || 1) * 1.08] } },
    series: [{}, ...chart.series.map((_, index) => ({ stroke: () => color(`--line-${index % 4}`), width: 1.8, dash: dashes[index % 4], points: { show: false }, spanGaps: false }))],
    axes: [
      { ...axis, grid: { show: false }, size: 24, space: 70, values: (_, ticks) => clock(ticks) },
      { ...axis, size: (_, labels) => 14 + 6.4 * Math.max(3, ...(labels ?? []).map((label) => label.length)), space: 34, values: (_, ticks) => ticks.map((value) => shown(value, chart.unit)) },
    ],
    hooks: {
      drawAxes: [(plot) => marks(plot, one)],
      setCursor: [(plot) => now(one, plot.cursor.idx)],
      setSelect: [(plot) => {
        if (plot.select.width < 4) return;
        const at = (x) => plot.posToVal(x, "x");
        const range = [at(plot.select.left), at(plot.select.left + plot.select.width)];
        plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        zoomAll(range);
      }],
    },
  };
  host.replaceChildren();
  one.plot = new uPlot(options, table(one), host);
  drawn.set(chart.id, one);
  now(one, null);
}

// The legend is the server's until the lines change.
function legend(figure, chart) {
  const list = figure.querySelector(".legend");
  const names = [...list.querySelectorAll("[data-name]")].map((name) => name.textContent);
  if (chart.series.some((series) => series.name === null) || names.join("\n") === chart.series.map((series) => series.name).join("\n")) return;
  list.replaceChildren(...chart.series.map((series, index) => {
    const item = document.createElement("li");
    item.className = `line-${index % 4}`;
    item.innerHTML = '<svg class="swatch" aria-hidden="true" viewBox="0 0 18 4"><path d="M0 2h18"></path></svg><span data-name></span> <b class="num"></b>';
    item.querySelector("[data-name]").textContent = series.name;
    item.querySelector("b").dataset.now = index;
    return item;
  }));
}

// Series as uPlot wants them: one column of times, one of values each.
function table(one) {
  const times = [...new Set(one.series.flatMap((series) => [...series.keys()]))].sort((a, b) => a - b);
  return [times.map((at) => at / 1000), ...one.series.map((series) => times.map((at) => series.get(at) ?? null))];
}

function marks(plot, one) {
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  const colors = { deploy: "--active", weight: "--active", rollback: "--warning", incident: "--critical" };
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  const line = (x0, y0, x1, y1, stroke, dash, weight) => {
    ctx.beginPath(); ctx.strokeStyle = color(stroke); ctx.lineWidth = weight * devicePixelRatio; ctx.setLineDash(dash);
    ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke();
  };
  for (const marker of markers) {
    const x = plot.valToPos(marker.at, "x", true);
    line(x, top, x, top + height, colors[marker.kind] ?? "--ink-3", [], 1.4);
  }
  if (one.objective) { const y = plot.valToPos(one.objective, "y", true); line(left, y, left + width, y, "--ink-3", [3, 4], 1); }
  ctx.restore();
}

// The legend shows the value beneath the cursor, else the newest.
function now(one, index) {
  const data = one.plot?.data;
  if (!data) return;
  one.figure.querySelectorAll("[data-now]").forEach((value, at) => {
    const column = data[at + 1] ?? [];
    const picked = index ?? column.length - 1;
    value.textContent = shown(column[picked], one.unit);
  });
}

function zoomAll(range) {
  zoom = range;
  const address = new URL(location.href);
  if (range) address.hash = `zoom=${range.map((at) => Math.round(at)).join("-")}`; else address.hash = "";
  history.replaceState(null, "", address);
  for (const one of drawn.values()) one.plot.setData(table(one));
}

function readZoom() {
  const found = /zoom=(\d+)-(\d+)/.exec(location.hash);
  return found && +found[1] < +found[2] ? [+found[1], +found[2]] : null;
}

// New points from the live stream: late ones replace what was drawn.
export function extend(moving) {
  for (const [id, lines] of Object.entries(moving.points)) {
    const one = drawn.get(id);
    if (!one || one.names.join("\n") !== lines.map((line) => line.name).join("\n")) {
      if (lines.length && document.querySelector(`[data-chart="${CSS.escape(id)}"]`)) reload();
      continue;
    }
    lines.forEach((line, index) => {
      const series = one.series[index];
      for (const [at, value] of line.points) series.set(at, value);
      for (const at of series.keys()) if (at < moving.from) series.delete(at);
    });
    one.range = [moving.from / 1000, moving.to / 1000];
    one.plot.setData(table(one));
    if (one.plot.cursor.idx == null) now(one, null);
  }
}
