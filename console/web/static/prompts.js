// The editor of a prompt list: checked by the server while one types, compared, and pushed.

import { act, toast } from "./act.js";

const editor = document.getElementById("editor");
const text = document.getElementById("text");

if (editor) {
  const device = editor.dataset.device;
  const numbers = editor.querySelector(".numbers");
  const problems = document.getElementById("problems");
  const push = document.getElementById("push");
  let base = text.value; // as the server delivered it
  let baseSha = editor.dataset.sha || null; // the hash that came with it, whatever the rows say by now
  let touched = false;
  const others = new Map(); // of other drones, the hashes that they had when this page first saw them
  let right = false;
  let waiting;

  const boxes = () => [...document.querySelectorAll('#lists input[name="device"]')];
  const chosen = () => boxes().filter((box) => box.checked).map((box) => box.value);
  const wanted = (name) => boxes().find((box) => box.value === name)?.dataset.wanted || null;
  const note = () => boxes().forEach((box) => { if (!others.has(box.value)) others.set(box.value, box.dataset.wanted || null); });
  // The chosen drone's hash belongs to its text; while there is none, nothing of its list was seen but its row.
  const seen = (name) => (name === device ? baseSha : null) ?? others.get(name) ?? wanted(name);

  const count = () => {
    const rows = text.value.split("\n").length;
    if (numbers.childElementCount !== rows) {
      numbers.replaceChildren(...Array.from({ length: rows }, (_, row) => Object.assign(document.createElement("span"), { textContent: row + 1 })));
    }
  };

  const name = () => {
    if (!push) return;
    const number = chosen().length;
    push.textContent = number === 1 ? `Push to ${chosen()[0]}` : `Push to ${number} drones`;
    push.disabled = !right || number === 0;
  };

  const check = async () => {
    count();
    const asked = text.value;
    if (!asked.trim()) { problems.replaceChildren(); right = false; name(); return; }
    const answer = await act("check", { text: asked });
    if (!answer || text.value !== asked) return;
    right = answer.right;
    problems.innerHTML = answer.html; // a template of the server, escaped there
    const marked = new Set([...problems.querySelectorAll("[data-line]")].map((each) => Number(each.dataset.line)));
    [...numbers.children].forEach((number, row) => number.classList.toggle("wrong", marked.has(row + 1)));
    name();
  };

  const jump = (line, column) => {
    const rows = text.value.split("\n");
    const at = rows.slice(0, line - 1).reduce((sum, row) => sum + row.length + 1, 0) + Math.max(0, column - 1);
    text.focus();
    text.setSelectionRange(at, at + Math.max(1, (rows[line - 1] ?? "").length - Math.max(0, column - 1)));
    text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
  };

  text.addEventListener("input", () => {
    touched = true;
    clearTimeout(waiting);
    count();
    right = false;
    name();
    waiting = setTimeout(check, 300);
  });
  text.addEventListener("scroll", () => { numbers.scrollTop = text.scrollTop; });
  problems.addEventListener("click", (event) => {
    const button = event.target.closest("[data-line]");
    if (button && Number(button.dataset.line)) jump(Number(button.dataset.line), Number(button.dataset.column));
  });
  const lists = document.getElementById("lists");
  lists.addEventListener("change", name);
  note();
  new MutationObserver(note).observe(lists, { childList: true, subtree: true });

  const compare = async () => {
    const answer = await act("diff", { text: text.value, base });
    if (answer) document.getElementById("diff").innerHTML = answer.html; // escaped by its template
  };
  document.getElementById("compare")?.addEventListener("click", compare);

  push?.addEventListener("click", async () => {
    const pushed = text.value;
    const devices = Object.fromEntries(chosen().map((each) => [each, seen(each)]));
    push.disabled = true;
    const answer = await act("push", { text: pushed, devices });
    if (answer) {
      // Who was refused for another drone has been told, and sees its row; the text here is the chosen one's.
      for (const each of Object.keys(devices)) if (each !== device) others.set(each, answer.wanted[each] ?? wanted(each));
      if (answer.wanted[device]) {
        base = pushed;
        baseSha = answer.wanted[device];
        await compare();
      }
    }
    name();
  });

  document.getElementById("rollback")?.addEventListener("click", async () => {
    if (await act("rollback", { device })) setTimeout(async () => toastUnless(await reread()), 1500);
  });

  // Edits that were not pushed are not thrown away by a click on another drone.
  addEventListener("beforeunload", (event) => { if (push && text.value !== base) event.preventDefault(); });

  const toastUnless = (problem) => { if (problem) toast(problem, true); };

  /** Shows the list that the drone should have; returns why it cannot, or "". */
  const reread = async (wanted = () => true) => {
    let said, sha;
    try {
      const response = await fetch(`/list?device=${encodeURIComponent(device)}`);
      said = await response.text();
      if (!response.ok) return said.trim();
      sha = response.headers.get("x-list-sha256");
    } catch { return "The server cannot be reached."; }
    if (!wanted()) return "";
    text.value = said;
    base = text.value;
    baseSha = sha;
    touched = false;
    document.getElementById("diff")?.replaceChildren();
    await check();
    return "";
  };

  /** Until the drone has told its list, or somebody has begun to write one. */
  const fill = async () => {
    const untouched = () => !text.value && !touched;
    if (!untouched()) return;
    const problem = await reread(untouched);
    if (!problem || !untouched()) return;
    const line = Object.assign(document.createElement("p"), { className: "soft", textContent: `${problem} It is asked again.` });
    problems.replaceChildren(line);
    setTimeout(fill, 5000);
  };

  if (text.value) check(); else fill();
}
