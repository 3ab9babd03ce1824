"use strict";
// The set as it was mined; what is written on the page is laid over it, and kept in this browser.
const mined = JSON.parse(document.getElementById("set").textContent);
const place = "blindpairs " + location.pathname + " " + mined.t1 + " " + mined.t2;
const sections = [...document.querySelectorAll(".pair")];

function read(section) {
  const fields = [...section.querySelectorAll(".question")].map((question) => ({
    pattern: question.querySelector(".pattern").value.trim(),
    first: question.querySelector(".first").value.trim(),
    second: question.querySelector(".second").value.trim(),
  }));
  return { keep: section.querySelector(".keep").checked, questions: fields };
}

function fill(section, state) {
  const box = section.querySelector(".questions");
  state.questions.forEach((values, number) => {
    if (number >= box.children.length) add(section);
    const question = box.children[number];
    for (const name of ["pattern", "first", "second"]) question.querySelector("." + name).value = values[name];
  });
  section.querySelector(".keep").checked = state.keep;
  section.classList.toggle("dropped", !state.keep);
}

function add(section) {
  const blank = document.getElementById("blank").content.cloneNode(true);
  section.querySelector(".questions").append(blank);
}

function save() {
  try {
    localStorage.setItem(place, JSON.stringify(sections.map(read)));
  } catch (error) {
    say("This browser keeps nothing: export before you close the page.");
  }
}

function say(text) {
  document.getElementById("said").textContent = text;
}

function exported() {
  const pairs = [], questions = [], faults = [];
  sections.forEach((section, number) => {
    const state = read(section);
    if (!state.keep) return;
    for (const question of state.questions) {
      if (!question.first && !question.second) continue;
      if (!question.first || !question.second || !question.pattern || question.first === question.second)
        faults.push(number + 1);
      else questions.push({ pair: pairs.length, ...question });
    }
    pairs.push(mined.pairs[number]);
  });
  if (faults.length) {
    say("Pair " + faults.join(", ") + ": a question needs a pattern and two different statements.");
    return null;
  }
  return { ...mined, pairs, questions };
}

sections.forEach((section) => {
  section.querySelector(".add").addEventListener("click", () => {
    add(section);
    section.querySelector(".question:last-child .pattern").focus();
  });
  section.querySelector(".keep").addEventListener("change", (event) => {
    section.classList.toggle("dropped", !event.target.checked);
  });
});
document.addEventListener("input", save);
document.addEventListener("change", save);
document.getElementById("export").addEventListener("click", () => {
  const found = exported();
  if (!found) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(found, null, 1) + "\n"], { type: "application/json" }));
  link.download = "blindpairs.json";
  link.click();
  URL.revokeObjectURL(link.href);
  say(found.pairs.length + " pairs and " + found.questions.length + " questions exported.");
});
try {
  const kept = JSON.parse(localStorage.getItem(place) || "[]");
  if (kept.length === sections.length) sections.forEach((section, number) => fill(section, kept[number]));
} catch (error) {
  localStorage.removeItem(place);
}
