// The editor of a prompt list: checked by the server while one types, compared, and pushed.

import { act, toast } from "./act.js";

const editor = document.getElementById("editor");
const text = document.getElementById("text");

if (editor) {
  const device = editor.dataset.device;
  const numbers = editor.querySelector(".numbers");
  const problems = document.getElementById("problems");
  const push = document.getElementById("push");
  let base = text.value; // what is in force, as this page got it
  let began = null; // hashes of the lists in force when the editing began
  let right = false;
  let waiting;

  const boxes = () => [...document.querySelectorAll('#lists input[name="device"]')];
  const chosen = () => boxes().filter((box) => box.checked).map((box) => box.value);
  const inForce = () => Object.fromEntries(boxes().map((box) => [box.value, box.dataset.sha || null]));

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
    began ??= inForce();
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
  document.getElementById("lists").addEventListener("change", name);

  const compare = async () => {
    const answer = await act("diff", { text: text.value, base });
    if (answer) document.getElementById("diff").innerHTML = answer.html; // escaped by its template
  };
  document.getElementById("compare")?.addEventListener("click", compare);

  push?.addEventListener("click", async () => {
    const known = began ?? inForce(), newest = inForce();
    const devices = Object.fromEntries(chosen().map((each) => [each, known[each] ?? newest[each] ?? null]));
    push.disabled = true;
    const answer = await act("push", { text: text.value, devices });
    if (answer && !answer.problem) { base = text.value; began = null; await compare(); }
    name();
  });

  document.getElementById("rollback")?.addEventListener("click", async () => {
    if (await act("rollback", { device })) setTimeout(async () => toastUnless(await reread()), 1500);
  });

  // Edits that were not pushed are not thrown away by a click on another drone.
  addEventListener("beforeunload", (event) => { if (push && text.value !== base) event.preventDefault(); });

  const toastUnless = (problem) => { if (problem) toast(problem, true); };

  /** Shows the list in force; returns why it cannot, or "". */
  const reread = async (wanted = () => true) => {
    let said;
    try {
      const response = await fetch(`/list?device=${encodeURIComponent(device)}`);
      said = await response.text();
      if (!response.ok) return said.trim();
    } catch { return "The server cannot be reached."; }
    if (!wanted()) return "";
    text.value = base = said;
    began = null;
    document.getElementById("diff")?.replaceChildren();
    await check();
    return "";
  };

  /** Until the drone has told its list, or somebody has begun to write one. */
  const fill = async () => {
    const untouched = () => !text.value && began === null;
    if (!untouched()) return;
    const problem = await reread(untouched);
    if (!problem || !untouched()) return;
    const line = Object.assign(document.createElement("p"), { className: "soft", textContent: `${problem} It is asked again.` });
    problems.replaceChildren(line);
    setTimeout(fill, 5000);
  };

  if (text.value) check(); else fill();
}
