// The live half: regions of the page as the server sends them. Texts are set as HTML only where the server's
// templates escaped them.

import { setClock, times } from "./times.js";

const main = document.getElementById("main");
const drawers = new Map(); // region -> what draws it, where it is data and not HTML
const listeners = [];

/** Draw the region `name` with `draw(set, order)`: `set` what is new, `order` all keys where they changed. */
export function draws(name, draw) { drawers.set(name, draw); }
/** Call `tell` after each update. */
export function updated(tell) { listeners.push(tell); }

let pause = 500;
let lostAt = null;

export function connect() {
  const query = new URLSearchParams(location.search);
  query.set("view", main.dataset.view);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live?${query}`);
  let silent;
  const alive = () => { clearTimeout(silent); silent = setTimeout(() => socket.close(), 25000); };
  alive();
  let first = true;
  socket.onmessage = (event) => {
    alive();
    const told = JSON.parse(event.data);
    setClock(told.now);
    if (first) { reset(); first = false; pause = 500; lost(false); }
    for (const [name, change] of Object.entries(told.regions)) apply(name, change);
    times(document);
    main.removeAttribute("aria-busy");
    for (const tell of listeners) tell(told.regions);
    socket.send("shown");
  };
  socket.onclose = (event) => {
    clearTimeout(silent);
    if (event.code === 4401) { location.assign("/login"); return; }
    lost(true);
    setTimeout(connect, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, 10000);
  };
}

function lost(so) {
  const notice = document.getElementById("server-lost");
  if (so && lostAt === null) {
    lostAt = new Date();
    document.getElementById("lost-at").textContent = lostAt.toLocaleTimeString();
  }
  if (!so) lostAt = null;
  notice.hidden = !so;
  document.body.classList.toggle("stale", so);
}

function reset() {
  for (const region of document.querySelectorAll("[data-region]")) {
    if (!region.dataset.draws) region.replaceChildren();
  }
  for (const draw of drawers.values()) draw({}, []);
}

function apply(name, change) {
  const drawer = drawers.get(name);
  if (drawer) { drawer(change.set ?? {}, change.order ?? null); return; }
  const region = document.querySelector(`[data-region="${name}"]`);
  if (!region) return;
  const known = new Map([...region.children].map((child) => [child.dataset.key, child]));
  for (const [key, html] of Object.entries(change.set ?? {})) {
    const made = fromHtml(html, region);
    made.dataset.key = key;
    const old = known.get(key);
    if (old) replace(old, made); else region.append(made);
    known.set(key, made);
  }
  if (!change.order) return;
  const wanted = new Set(change.order);
  for (const [key, child] of known) if (!wanted.has(key)) { child.remove(); known.delete(key); }
  let place = region.firstElementChild;
  for (const key of change.order) {
    const child = known.get(key);
    if (!child) continue;
    if (child === place) place = place.nextElementSibling;
    else region.insertBefore(child, place);
  }
}

function fromHtml(html, region) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild ?? document.createElement(region.tagName === "TBODY" ? "tr" : "div");
}

// What somebody is at must not be taken from under their hands.
function replace(old, made) {
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  for (const box of old.querySelectorAll('input[type="checkbox"][data-focus]')) {
    const same = made.querySelector(`[data-focus="${CSS.escape(box.dataset.focus)}"]`);
    if (same) { same.checked = box.checked; if (same.dataset.sha !== undefined) same.dataset.sha = same.dataset.sha; }
  }
  const links = held ? [...old.querySelectorAll("a, button, input")] : [];
  const nth = links.indexOf(held);
  old.replaceWith(made);
  if (!held) return;
  const same = held.dataset.focus && made.querySelector(`[data-focus="${CSS.escape(held.dataset.focus)}"]`);
  (same || made.querySelectorAll("a, button, input")[Math.max(nth, 0)] || made).focus?.({ preventScroll: true });
}
