/* What the page does beyond links and forms: it asks in a dialog, rests while nobody looks, draws charts, copies commands.
   Without it every page still reads, and every action has a page of its own that asks. */
"use strict";

const dialog = document.getElementById("ask");

/* A link marked data-ask leads to a page with a form; its form is shown here instead. */
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-ask]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    const form = await formOf(link.href);
    if (!form) {
      location.assign(link.href);
      return;
    }
    dialog.replaceChildren(form);
    dialog.showModal();
    (form.querySelector("input:not([type=hidden]), select") || form.querySelector("[data-close]")).focus();
    return;
  }
  const close = event.target.closest("[data-close]");
  if (close && dialog.open && dialog.contains(close)) {
    event.preventDefault();
    dialog.close();
  }
  const copy = event.target.closest("button[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
    copy.textContent = "Copied";
  }
});

async function formOf(address) {
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("form.ask");
  } catch {
    return null;
  }
}

/* A form is sent once. */
document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button[type=submit]")) {
    setTimeout(() => { button.disabled = true; });
  }
});

/* Browsers open six connections to one host: a page that nobody looks at gives its own back, and asks again when it is seen. */
const feed = document.getElementById("feed");
const state = document.getElementById("link-state");
const place = feed ? feed.parentNode : null;
const blank = feed ? feed.cloneNode(true) : null;

document.addEventListener("visibilitychange", () => {
  if (!place) return;
  const now = document.getElementById("feed");
  if (document.hidden && now) {
    htmx.swap(now, "", { swapStyle: "delete" });
  } else if (!document.hidden && !now) {
    const again = blank.cloneNode(true);
    place.append(again);
    htmx.process(again);
    htmx.ajax("GET", location.href, { target: "#live", select: "#live", swap: "morph:outerHTML", source: again });
  }
});

function tell(words, broken) {
  if (!state) return;
  state.hidden = false;
  state.textContent = words;
  state.classList.toggle("broken", broken);
}
document.addEventListener("htmx:sseOpen", () => tell("Live", false));
document.addEventListener("htmx:sseError", () => tell("Not connected: what stands here may be old", true));
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) location.reload();
});
document.addEventListener("htmx:afterSwap", () => draw());

/* Charts: the figures are in data-chart, and beside it as a table. */
const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw() {
  if (typeof uPlot === "undefined") return;
  for (const [box, known] of charts) {
    if (!box.isConnected) {
      known.plot.destroy();
      charts.delete(box);
    }
  }
  for (const box of document.querySelectorAll("[data-chart]")) {
    const known = charts.get(box);
    if (known && known.given === box.dataset.chart && box.querySelector(".uplot")) continue;
    if (known) known.plot.destroy();
    box.replaceChildren();
    charts.set(box, { given: box.dataset.chart, plot: plotted(box, JSON.parse(box.dataset.chart)) });
  }
}

function plotted(box, given) {
  const points = given.kind === "points";
  const axis = (label, more) => ({
    label, labelSize: 18, labelFont: "12px system-ui", font: "11px system-ui", stroke: colour("--muted"),
    grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, ...more,
  });
  const series = given.series.map((each, index) => ({
    label: each.name,
    stroke: colour(["--accent", "--busy", "--warn", "--bad"][index % 4]),
    width: 2,
    paths: points ? () => null : undefined,
    points: { show: true, size: points ? 10 : 6, fill: points && index === 0 ? colour("--accent") : colour("--surface") },
  }));
  const options = {
    width: Math.max(box.clientWidth, 240),
    height: 240,
    legend: { show: given.series.length > 1, live: false },
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false, distr: given.log ? 3 : 1 } },
    axes: [axis(given.x, points ? {} : { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }), axis(given.y, { size: 56 })],
    series: [{ label: given.x }, ...series],
  };
  return new uPlot(options, [given.at, ...given.series.map((each) => each.values)], box);
}

new ResizeObserver(() => {
  for (const [box, known] of charts) known.plot.setSize({ width: Math.max(box.clientWidth, 240), height: 240 });
}).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const [box, known] of charts) { known.plot.destroy(); charts.delete(box); }
  draw();
});
draw();
