// What every view has: its live regions, the clock, sound, theme and keys. What people do is in act.js.

import { connect, draws } from "./live.js";
import "./act.js";
import { tick } from "./times.js";

// ---- alarms -----------------------------------------------------------------------------------------------

const ringing = new Map();
let sound = null; // an AudioContext, once somebody asked for sound
let rung = null; // rings that are told; what rings when the page is opened is no news

function beep() {
  if (!sound) return;
  for (const [after, pitch] of [[0, 880], [0.22, 660], [0.44, 880]]) {
    const tone = sound.createOscillator();
    const gain = sound.createGain();
    tone.frequency.value = pitch;
    gain.gain.setValueAtTime(0.2, sound.currentTime + after);
    gain.gain.exponentialRampToValueAtTime(0.001, sound.currentTime + after + 0.2);
    tone.connect(gain).connect(sound.destination);
    tone.start(sound.currentTime + after);
    tone.stop(sound.currentTime + after + 0.2);
  }
}

draws("alarms", (set) => {
  if ("active" in set) {
    const badge = document.querySelector("#alarms .badge");
    badge.textContent = set.active;
    badge.hidden = set.active === 0;
    document.title = document.title.replace(/^\(\d+\) /, "");
    if (set.active > 0) document.title = `(${set.active}) ${document.title}`;
  }
  const news = rung !== null && set.rung > rung;
  if ("rung" in set) rung = set.rung; // a server that was started anew begins at less
  if (news) beep();
  if (!("ringing" in set)) return;
  const fresh = Object.keys(set.ringing).filter((key) => !ringing.has(key));
  if (news) document.getElementById("spoken").textContent = fresh.map((key) => set.ringing[key]).join(". ");
  ringing.clear();
  for (const [key, words] of Object.entries(set.ringing)) ringing.set(key, words);
  document.querySelector("#alarms .badge").classList.toggle("rings", ringing.size > 0);
});

document.getElementById("sound").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  if (sound) { await sound.close(); sound = null; } else { sound = new AudioContext(); beep(); }
  button.setAttribute("aria-pressed", String(sound !== null));
  button.querySelector("use").setAttribute("href", sound ? "#i-sound" : "#i-mute");
});

// ---- theme and keys ---------------------------------------------------------------------------------------

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const next = { undefined: dark ? "light" : "dark", light: dark ? undefined : "dark", dark: dark ? "light" : undefined };
  const chosen = next[root.dataset.theme];
  if (chosen) { root.dataset.theme = chosen; localStorage.setItem("theme", chosen); }
  else { delete root.dataset.theme; localStorage.removeItem("theme"); }
});

const VIEWS = { 1: "alerts", 2: "fleet", 3: "map", 4: "counts", 5: "prompts", 6: "audit" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (VIEWS[event.key]) location.assign(`/${VIEWS[event.key]}`);
  if (event.key === "/") {
    const search = document.querySelector('input[type="search"]');
    if (search) { event.preventDefault(); search.focus(); }
  }
});

tick();
setInterval(tick, 1000);
addEventListener("load", connect); // by then every script of the page has said what it draws
