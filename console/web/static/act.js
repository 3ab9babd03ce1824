// What people do: requests to the server, what it answers, and pictures.

import { local, now } from "./times.js";

const csrf = document.querySelector('meta[name="csrf"]').content;

/** POST /do/`what`; the answer, or null where it could not be done (then it was said why). */
export async function act(what, asked, quiet = false) {
  let answer;
  let response;
  try {
    response = await fetch(`/do/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": csrf },
      body: JSON.stringify(asked),
    });
    const text = await response.text();
    try { answer = JSON.parse(text); } catch { answer = { problem: text.trim() }; }
  } catch {
    toast("The server cannot be reached.", true);
    return null;
  }
  if (response.status === 401) { location.assign("/login"); return null; }
  if (!response.ok) { toast(answer.problem || "That did not work.", true); return null; }
  if (answer.said && !quiet) toast(answer.said, answer.problem);
  return answer;
}

let fading;
export function toast(text, bad = false) {
  const element = document.getElementById("toast");
  element.textContent = text;
  element.classList.toggle("bad", Boolean(bad));
  element.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { element.hidden = true; }, bad ? 9000 : 3500);
}

const asked = (element) => {
  const { device, alert, minutes } = element.dataset;
  return { device, alert, ...(minutes ? { minutes: Number(minutes) } : {}) };
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-do], button[data-picture]");
  if (!button) return;
  button.disabled = true;
  if (button.dataset.picture) await fetchPicture(button);
  else await act(button.dataset.do, asked(button));
  button.disabled = false;
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-do]");
  if (!form) return;
  event.preventDefault();
  const text = form.elements.text.value.trim();
  if (text && await act(form.dataset.do, { ...asked(form), text })) form.reset();
});

async function fetchPicture(button) {
  const card = button.closest(".picture");
  const { device, sha } = card.dataset;
  const words = button.textContent;
  button.textContent = "Asking the drone …";
  const answer = await act(button.dataset.picture, sha ? { device, sha256: sha } : { device });
  button.textContent = words;
  if (answer) showPicture(card, answer, sha);
}

function showPicture(card, answer, sha) {
  const boxes = answer.boxes.map(([left, top, right, bottom]) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
      made.setAttribute(name, value);
    }
    return made;
  });
  card.querySelector("figure svg").replaceChildren(...boxes);
  card.querySelector("img").src = answer.src;
  const size = `${(answer.bytes / 1000).toFixed(0)} kB`;
  card.querySelector("figcaption").textContent = sha
    ? `${size}, SHA-256 ${sha.slice(0, 12)}… is right` : `${size}, at ${local(new Date(now()))}`;
  card.querySelector("figure").hidden = false;
}

const again = document.getElementById("again");
if (again) {
  setInterval(() => {
    const button = document.querySelector('[data-picture="thumbnail"]');
    if (again.checked && !document.hidden && !button.disabled) button.click();
  }, 5000);
}

document.getElementById("leave").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST", headers: { "x-csrf-token": csrf } });
  location.assign("/login");
});
