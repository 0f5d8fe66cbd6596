// The editor of a draft: mistakes beside the inputs they are about, rules that fit a type.
"use strict";

(() => {
  function slotOf(editor, place) {
    for (let at = place; at; at = at.slice(0, at.lastIndexOf("/"))) {
      const slot = editor.querySelector(`[data-slot="${CSS.escape(at)}"]`);
      if (slot) return slot;
    }
    return null;
  }

  // Each mistake beside the input that it is about, or beside the next one around it.
  function placeProblems() {
    const editor = document.getElementById("editor");
    if (!editor) return;
    for (const slot of editor.querySelectorAll("[data-slot]")) slot.textContent = "";
    for (const input of editor.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    for (const problem of editor.querySelectorAll(".problems [data-at]")) {
      const slot = slotOf(editor, problem.dataset.at);
      if (!slot) continue;
      slot.textContent = `${slot.textContent} ${problem.querySelector("span").textContent}`.trim();
      const input = editor.querySelector(`[data-place="${CSS.escape(slot.dataset.slot)}"]`);
      if (input) input.setAttribute("aria-invalid", "true");
    }
  }

  // Rules that a column's type has no use for step back; what is in them stays there.
  function fitRules(select) {
    const prefix = select.name.slice(0, select.name.indexOf("-") + 1);
    for (const input of select.form.querySelectorAll(`[name^="${CSS.escape(prefix)}"][data-fits]`)) {
      input.classList.toggle("unused", !input.dataset.fits.split(" ").includes(select.value));
    }
  }

  function fitAll() {
    for (const select of document.querySelectorAll("#editor select[data-type]")) fitRules(select);
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("#editor select[data-type]")) fitRules(event.target);
  });
  document.addEventListener("DOMContentLoaded", () => {
    fitAll();
    placeProblems();
  });
  // A button that rebuilds the editor goes before previews of the editor as it was: these are dropped.
  let rebuilding = false;
  document.addEventListener("submit", (event) => {
    if (event.target.id === "editor") rebuilding = true;
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.matches("#editor button")) {
      rebuilding = true;
      htmx.trigger("#editor", "htmx:abort");
    } else if (event.detail.elt.id === "editor" && rebuilding) {
      event.preventDefault();
    }
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.id !== "editor") rebuilding = false;
  });
  document.addEventListener("htmx:afterSettle", () => {
    fitAll();
    placeProblems();
  });
})();
