// The map: Web Mercator, drawn as SVG. Without tiles a graticule.

import { draws, updated } from "./live.js";

const NS = "http://www.w3.org/2000/svg";
const map = document.getElementById("map");
const svg = map.querySelector("svg");
const layer = (name) => svg.querySelector(`.${name}`);
const EARTH = 40075016.686; // metres round the equator
const data = { drones: new Map(), places: new Map(), ground: new Map() };

// x and y of the world are 0 to 1, from the west and from the north; `scale` is pixels a world.
const view = { x: 0.5, y: 0.42, scale: 0 };
let moved = false;

const project = ([longitude, latitude]) => {
  const lat = Math.max(-85.05, Math.min(85.05, latitude)) * Math.PI / 180;
  return [(longitude + 180) / 360, (1 - Math.asinh(Math.tan(lat)) / Math.PI) / 2];
};
const latitudeOf = (y) => Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180 / Math.PI;
const longitudeOf = (x) => x * 360 - 180;
const size = () => [svg.clientWidth || 1, svg.clientHeight || 1];
const screen = ([x, y]) => {
  const [width, height] = size();
  return [width / 2 + (x - view.x) * view.scale, height / 2 + (y - view.y) * view.scale];
};
const pixels = (metres, latitude) => metres / (EARTH * Math.cos(latitude * Math.PI / 180)) * view.scale;

function element(name, attributes, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
const symbol = (id, at, side, name) =>
  element("use", { href: `#i-${id}`, x: at[0] - side / 2, y: at[1] - side / 2, width: side, height: side, class: `icon i-${id} ${name}` });

for (const name of Object.keys(data)) {
  draws(name, (set, order) => {
    for (const [key, value] of Object.entries(set)) data[name].set(key, value);
    if (order) { const keep = new Set(order); for (const key of data[name].keys()) if (!keep.has(key)) data[name].delete(key); }
  });
}

function everything() {
  return [
    ...[...data.drones.values()].flatMap((drone) => [drone.at, ...drone.track]),
    ...[...data.places.values()].map((place) => place.at),
    ...[...data.ground.values()].flatMap((shape) => shape.points),
  ];
}

function fit() {
  const points = everything().map(project);
  if (!points.length) return;
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [width, height] = size();
  view.x = (left + right) / 2;
  view.y = (top + bottom) / 2;
  view.scale = limited(0.7 * Math.min(width / Math.max(right - left, 1e-12), height / Math.max(bottom - top, 1e-12)));
}

const limited = (scale) => Math.max(200, Math.min(scale, EARTH * 4)); // no closer than 4 pixels a metre

// ---- drawing ----------------------------------------------------------------------------------------------

function draw() {
  if (!view.scale) view.scale = size()[0]; // the whole world, until there is something to show
  document.getElementById("nowhere").hidden = everything().length > 0;
  tiles();
  graticule();
  drawGround();
  drawTracks();
  drawPlaces();
  drawDrones();
  ruler();
}

function tiles() {
  const address = map.dataset.tiles;
  if (!address) return;
  const zoom = Math.max(0, Math.min(19, Math.round(Math.log2(view.scale / 256))));
  const count = 2 ** zoom, side = view.scale / count, [width, height] = size();
  const first = [view.x - width / 2 / view.scale, view.y - height / 2 / view.scale].map((each) => Math.floor(each * count));
  const made = [];
  for (let row = Math.max(0, first[1]); row < count && (row / count - view.y) * view.scale < height / 2; row++) {
    for (let column = first[0]; (column / count - view.x) * view.scale < width / 2; column++) {
      const [x, y] = screen([column / count, row / count]);
      const href = address.replace("{z}", zoom).replace("{x}", ((column % count) + count) % count).replace("{y}", row).replace("{s}", "a");
      made.push(element("image", { href, x, y, width: side + 0.5, height: side + 0.5 }));
    }
  }
  layer("tiles").replaceChildren(...made);
}

const STEPS = [90, 45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5];

function graticule() {
  const [width, height] = size();
  const degrees = 360 * 150 / view.scale; // so that lines are some 150 pixels apart
  const step = STEPS.find((each) => each <= degrees) ?? 1e-5;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const made = [];
  const west = Math.max(-180, longitudeOf(view.x - width / 2 / view.scale));
  const east = Math.min(180, longitudeOf(view.x + width / 2 / view.scale));
  for (let at = Math.ceil(west / step) * step; at <= east; at += step) {
    const [x] = screen(project([at, 0]));
    made.push(element("path", { d: `M${x} 0V${height}` }), element("text", { x: x + 4, y: height - 8 }, `${at.toFixed(digits)}°`));
  }
  const north = latitudeOf(view.y - height / 2 / view.scale), south = latitudeOf(view.y + height / 2 / view.scale);
  for (let at = Math.ceil(south / step) * step; at <= north; at += step) {
    const [, y] = screen(project([0, at]));
    made.push(element("path", { d: `M0 ${y}H${width}` }), element("text", { x: 8, y: y - 4 }, `${at.toFixed(digits)}°`));
  }
  layer("graticule").replaceChildren(...made);
}

const path = (points) => "M" + points.map((point) => screen(project(point)).map((each) => each.toFixed(1)).join(" ")).join("L");

function drawGround() {
  layer("ground").replaceChildren(...[...data.ground.values()].flatMap((shape) => {
    const [x, y] = screen(project(shape.points[0]));
    return [
      element("path", { d: path(shape.points) + (shape.kind === "zone" ? "Z" : ""), class: shape.kind }),
      element("text", { x: x + 5, y: y - 5 }, shape.name),
    ];
  }));
}

function drawTracks() {
  layer("tracks").replaceChildren(...[...data.drones.values()].filter((drone) => drone.track.length > 1)
    .map((drone) => element("path", { d: path(drone.track) })));
}

function drawPlaces() {
  layer("places").replaceChildren(...[...data.places.values()].map((place) => {
    const at = screen(project(place.at));
    const radius = place.radius === null ? 0 : pixels(place.radius, place.at[1]);
    const link = element("a", {
      href: `/alert?device=${encodeURIComponent(place.device)}&alert=${encodeURIComponent(place.alert)}`,
      class: `${place.severity}${place.quiet ? " quiet" : ""}`,
    });
    if (radius > 3) link.append(element("circle", { cx: at[0], cy: at[1], r: radius, class: "error" }));
    for (const [longitude, latitude] of place.others) {
      const [cx, cy] = screen(project([longitude, latitude]));
      link.append(element("circle", { cx, cy, r: 2.5, class: "other" }));
    }
    link.append(symbol(place.severity, at, 22, place.severity), element("text", { x: at[0] + 15, y: at[1] + 5 }, place.name));
    link.append(element("title", {}, `${place.severity}: ${place.name} on ${place.device}${place.radius === null ? "" : `, ±${place.radius.toFixed(0)} m`}`));
    return link;
  }));
}

function drawDrones() {
  layer("drones").replaceChildren(...[...data.drones.entries()].map(([name, drone]) => {
    const at = screen(project(drone.at));
    const link = element("a", { href: `/device?device=${encodeURIComponent(name)}`, class: `drone ${drone.state}` });
    const mark = drone.state === "offline" || drone.yaw === null
      ? symbol(`s-${drone.state}`, at, 16, drone.state) : symbol("drone", at, 24, drone.state);
    if (drone.yaw !== null && drone.state !== "offline") mark.setAttribute("transform", `rotate(${drone.yaw} ${at[0]} ${at[1]})`);
    link.append(mark, element("text", { x: at[0] + 14, y: at[1] - 8 }, name));
    link.append(element("title", {}, `${name}: ${drone.state}${drone.yaw === null ? "" : `, camera to ${drone.yaw.toFixed(0)}°`}`));
    return link;
  }));
}

function ruler() {
  const metre = pixels(1, latitudeOf(view.y));
  const about = 120 / metre;
  const power = 10 ** Math.floor(Math.log10(about));
  const length = [5, 2, 1].map((each) => each * power).find((each) => each <= about) ?? power;
  const scale = map.querySelector(".scale");
  scale.style.width = `${length * metre}px`;
  scale.firstElementChild.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
}

// ---- moving -----------------------------------------------------------------------------------------------

function zoom(factor, [px, py] = size().map((each) => each / 2)) {
  const [width, height] = size();
  const before = view.scale;
  view.scale = limited(before * factor);
  view.x += (px - width / 2) * (1 / before - 1 / view.scale);
  view.y += (py - height / 2) * (1 / before - 1 / view.scale);
  moved = true;
  draw();
}

function move(dx, dy) {
  view.x -= dx / view.scale;
  view.y = Math.max(0, Math.min(1, view.y - dy / view.scale));
  moved = true;
  draw();
}

function whole() { moved = false; fit(); draw(); }

svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), [event.clientX - box.left, event.clientY - box.top]);
}, { passive: false });

const fingers = new Map();
svg.addEventListener("pointerdown", (event) => { if (event.button === 0) fingers.set(event.pointerId, [event.clientX, event.clientY]); });
addEventListener("pointermove", (event) => {
  const from = fingers.get(event.pointerId);
  if (!from) return;
  const to = [event.clientX, event.clientY];
  if (fingers.size === 1) {
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 3 && !svg.classList.contains("drag")) return;
    svg.classList.add("drag");
    move(to[0] - from[0], to[1] - from[1]);
  } else {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const gap = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    const box = svg.getBoundingClientRect();
    zoom(gap(to, other) / gap(from, other), [(to[0] + other[0]) / 2 - box.left, (to[1] + other[1]) / 2 - box.top]);
  }
  fingers.set(event.pointerId, to);
});
for (const end of ["pointerup", "pointercancel"]) {
  addEventListener(end, (event) => { fingers.delete(event.pointerId); setTimeout(() => svg.classList.remove("drag")); });
}
svg.addEventListener("click", (event) => { if (svg.classList.contains("drag")) event.preventDefault(); }, true);
svg.addEventListener("dragstart", (event) => event.preventDefault());

map.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
  if (moves[event.key]) move(...moves[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "0") whole();
  else return;
  event.preventDefault();
});
document.getElementById("closer").addEventListener("click", () => zoom(1.5));
document.getElementById("farther").addEventListener("click", () => zoom(1 / 1.5));
document.getElementById("fit").addEventListener("click", whole);
new ResizeObserver(() => draw()).observe(map);

const [latitude, longitude] = (map.dataset.at ?? "").split(",").map(Number);
if (Number.isFinite(latitude) && Number.isFinite(longitude)) {
  [view.x, view.y] = project([longitude, latitude]);
  view.scale = limited(EARTH * Math.cos(latitude * Math.PI / 180) * 2);
  moved = true;
}
updated((regions) => {
  if (!("drones" in regions || "places" in regions || "ground" in regions)) return;
  if (!moved) fit(); // until somebody moves it, the map shows all there is
  draw();
});
draw();
