// Counts over time: one line a prompt, with the span between the least and the most where points were folded.

import { toast } from "./act.js";
import { local, now } from "./times.js";

const NS = "http://www.w3.org/2000/svg";
const chart = document.getElementById("chart");
const svg = chart.querySelector("svg");
const reading = chart.querySelector(".reading");
const form = document.getElementById("what");
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "12 5", "4 4"]; // beside the colour: a line is known without it
const EDGE = { left: 46, right: 14, top: 12, bottom: 28 };
const hidden = new Set();
let shown = { since: 0, until: 1, lines: [] };
let span = null; // [since, until] that somebody zoomed to
let cursor = null; // a time, seconds
let drag = null;

function element(name, attributes, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const number = () => form.elements.number.value;
// a point: [time, low, high, count, unique, score]
const valueOf = (point) => ({ count: point[3], unique: point[4], score: point[5] })[number()];
const lines = () => shown.lines.filter((line) => number() === "score" || line.kind === "object");
const visible = () => lines().filter((line) => !hidden.has(line.prompt));

function query() {
  const made = new URLSearchParams({ device: form.elements.device.value, hours: form.elements.hours.value });
  if (span) { made.set("since", span[0]); made.set("until", span[1]); }
  return made;
}

async function load() {
  if (!form.elements.device.value) { nothing(true); return; }
  document.getElementById("csv").href = `/export/counts.csv?${query()}`;
  try {
    const response = await fetch(`/series?${query()}`);
    if (response.status === 401 || response.redirected) { location.assign("/login"); return; }
    if (!response.ok) { toast(await response.text(), true); return; }
    shown = await response.json();
    // A span that was mostly before the first count shows little of what there is.
    const first = Math.min(...shown.lines.flatMap((line) => line.points.slice(0, 1).map((point) => point[0])));
    if (!span && Number.isFinite(first)) shown.since = Math.max(shown.since, Math.min(first, shown.until - 60));
  } catch { return; } // the page says by itself that the server is gone
  draw();
}

function nothing(so) {
  document.getElementById("nothing").hidden = !so;
  chart.hidden = so;
}

const width = () => svg.clientWidth || 800, height = () => svg.clientHeight || 320;
const xOf = (time) => EDGE.left + (time - shown.since) / (shown.until - shown.since) * (width() - EDGE.left - EDGE.right);
const timeOf = (x) => shown.since + (x - EDGE.left) / (width() - EDGE.left - EDGE.right) * (shown.until - shown.since);
let top = 1;
const yOf = (value) => height() - EDGE.bottom - value / top * (height() - EDGE.top - EDGE.bottom);

function nice(most, steps) {
  const raw = most / steps, power = 10 ** Math.floor(Math.log10(raw || 1));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw) ?? power;
}

function draw() {
  const some = lines();
  nothing(!some.some((line) => line.points.length));
  legend(some);
  const values = visible().flatMap((line) => line.points.map((point) => number() === "count" ? point[2] : valueOf(point)));
  const step = number() === "score" ? 0.2 : Math.max(1, nice(Math.max(1, ...values), 5));
  top = number() === "score" ? 1 : Math.ceil(Math.max(1, ...values) / step) * step;
  const parts = axes(step);
  for (const line of visible()) parts.push(...curve(line, shown.lines.indexOf(line)));
  svg.replaceChildren(...parts);
  read();
}

function axes(step) {
  const made = [];
  for (let value = 0; value <= top + 1e-9; value += step) {
    const y = yOf(value);
    made.push(element("path", { class: "rule", d: `M${EDGE.left} ${y}H${width() - EDGE.right}` }));
    made.push(element("text", { class: "tick end", x: EDGE.left - 8, y: y + 4 }, number() === "score" ? value.toFixed(1) : String(value)));
  }
  const count = Math.max(2, Math.floor(width() / 150));
  for (let each = 0; each <= count; each++) {
    const time = shown.since + (shown.until - shown.since) * each / count;
    const anchor = each === 0 ? "" : each === count ? "end" : "middle";
    made.push(element("text", { class: `tick ${anchor}`, x: xOf(time), y: height() - 8 }, local(new Date(time * 1000))));
  }
  return made;
}

/** Seconds from one point to the next, as a rule. */
function spacing(points) {
  const gaps = points.slice(1).map((point, before) => point[0] - points[before][0]).sort((a, b) => a - b);
  return Math.max(gaps[Math.floor(gaps.length / 2)] ?? 0, 2);
}

function curve(line, index) {
  if (!line.points.length) return [];
  // A gap in what came is a gap in the line: nobody knows what was between.
  const usual = 3 * spacing(line.points);
  let path = "", before = -Infinity;
  for (const point of line.points) {
    const at = `${xOf(point[0]).toFixed(1)} ${yOf(valueOf(point)).toFixed(1)}`;
    path += point[0] - before > usual ? `M${at}h0` : `L${at}`; // h0: one that stands alone is a dot
    before = point[0];
  }
  const made = [element("path", { class: `curve c${index % 6}`, d: path, "stroke-dasharray": DASHES[index % 6] })];
  if (number() === "count") {
    const high = line.points.map((point) => `${xOf(point[0]).toFixed(1)} ${yOf(point[2]).toFixed(1)}`);
    const low = line.points.map((point) => `${xOf(point[0]).toFixed(1)} ${yOf(point[1]).toFixed(1)}`).reverse();
    made.unshift(element("path", { class: `range c${index % 6}`, d: `M${[...high, ...low].join("L")}Z` }));
  }
  return made;
}

function legend(some) {
  document.getElementById("legend").replaceChildren(...some.map((line) => {
    const index = shown.lines.indexOf(line);
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(line.prompt) });
    box.addEventListener("change", () => { if (box.checked) hidden.delete(line.prompt); else hidden.add(line.prompt); draw(); });
    const key = element("svg", { viewBox: "0 0 28 8", class: "key", "aria-hidden": "true" },
      element("path", { class: `curve c${index % 6}`, d: "M0 4H28", "stroke-dasharray": DASHES[index % 6] }));
    label.append(box, key, line.prompt);
    return label;
  }));
}

// ---- reading, zooming -------------------------------------------------------------------------------------

function nearest(points, time) {
  let best = null;
  for (const point of points) if (!best || Math.abs(point[0] - time) < Math.abs(best[0] - time)) best = point;
  return best;
}

function read() {
  svg.querySelectorAll(".cursor").forEach((each) => each.remove());
  if (cursor === null) { reading.hidden = true; return; }
  const x = xOf(cursor);
  svg.append(element("path", { class: "cursor", d: `M${x} ${EDGE.top}V${height() - EDGE.bottom}` }));
  const made = [document.createElement("strong")];
  const moment = new Date(cursor * 1000);
  made[0].textContent = `${local(moment)} (${moment.toISOString().slice(11, 19)} UTC)`;
  for (const line of visible()) {
    const point = nearest(line.points, cursor);
    if (!point || Math.abs(point[0] - cursor) > (shown.until - shown.since) / 50 + 5) continue;
    svg.append(element("circle", { class: `cursor c${shown.lines.indexOf(line) % 6}`, cx: xOf(point[0]), cy: yOf(valueOf(point)), r: 4 }));
    const row = document.createElement("div");
    const folded = number() === "count" && point[1] !== point[2] ? ` (${point[1]} to ${point[2]})` : "";
    row.textContent = `${line.prompt}: ${number() === "score" ? valueOf(point).toFixed(2) : valueOf(point)}${folded}`;
    made.push(row);
  }
  reading.replaceChildren(...made);
  reading.hidden = false;
  reading.style.left = `${Math.min(Math.max(x + 12, 0), width() - reading.offsetWidth - 4)}px`;
}

const place = (event) => event.clientX - svg.getBoundingClientRect().left;
svg.addEventListener("pointermove", (event) => {
  cursor = Math.max(shown.since, Math.min(shown.until, timeOf(place(event))));
  if (drag !== null) {
    svg.querySelector(".span")?.remove();
    const [from, to] = [drag, place(event)].sort((a, b) => a - b);
    svg.append(element("rect", { class: "span", x: from, y: EDGE.top, width: to - from, height: Math.max(0, height() - EDGE.top - EDGE.bottom) }));
  }
  read();
});
svg.addEventListener("pointerleave", () => { if (drag === null) { cursor = null; read(); } });
svg.addEventListener("pointerdown", (event) => { drag = place(event); svg.setPointerCapture(event.pointerId); });
svg.addEventListener("pointerup", (event) => {
  const ends = [timeOf(drag), timeOf(place(event))].sort((a, b) => a - b);
  const far = Math.abs(place(event) - drag) > 8;
  drag = null;
  svg.querySelector(".span")?.remove();
  if (far && ends[1] - ends[0] > 2) zoomTo(ends);
});
chart.addEventListener("keydown", (event) => {
  const step = (shown.until - shown.since) / 60;
  if (event.key === "ArrowLeft") cursor = Math.max(shown.since, (cursor ?? shown.until) - step);
  else if (event.key === "ArrowRight") cursor = Math.min(shown.until, (cursor ?? shown.since) + step);
  else if (event.key === "Escape") { cursor = null; zoomTo(null); }
  else if ((event.key === "+" || event.key === "-") && cursor !== null) {
    const half = (shown.until - shown.since) * (event.key === "+" ? 0.25 : 1);
    zoomTo([cursor - half, Math.min(cursor + half, now() / 1000)]);
  } else return;
  event.preventDefault();
  read();
});

function zoomTo(ends) {
  span = ends;
  document.getElementById("reset").hidden = span === null;
  load();
}

document.getElementById("reset").addEventListener("click", () => zoomTo(null));
form.addEventListener("submit", (event) => event.preventDefault());
form.elements.number.addEventListener("change", draw);
form.elements.hours.addEventListener("change", () => zoomTo(null));
form.elements.device.addEventListener("change", () => location.assign(`/counts?${query()}`));
new ResizeObserver(draw).observe(chart);
setInterval(() => { if (!span && !document.hidden && drag === null) load(); }, 2000);
load();
