// What every page of the console needs: times in the viewer's zone, keys, and confirmation by name.
"use strict";

(() => {
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  // Times come in UTC; people read them in their own zone, and see UTC in the tooltip.
  function localTimes(root) {
    for (const time of root.querySelectorAll("time.moment:not([data-local])")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) {
        time.textContent = zone.format(at);
        time.dataset.local = "";
      }
    }
  }

  // A button that destroys something stays shut until the name beside it is typed.
  function confirmByName(root) {
    for (const input of root.querySelectorAll("input[data-confirm-name]")) {
      const button = input.form.querySelector("button[type=submit]");
      const check = () => { button.disabled = input.value !== input.dataset.confirmName; };
      input.addEventListener("input", check);
      check();
    }
  }

  // Arrow keys go from cell to cell in a grid of inputs; Escape gives the cell its value back.
  function onGridKey(event) {
    const cell = event.target.closest("[data-grid] input, [data-grid] select");
    if (!cell) return;
    if (event.key === "Escape") {
      if (cell.dataset.was !== undefined && cell.value !== cell.dataset.was) {
        cell.value = cell.dataset.was;
        cell.dispatchEvent(new Event("input", { bubbles: true }));
      } else {
        cell.blur();
      }
      event.preventDefault();
      return;
    }
    const step = { ArrowUp: -1, ArrowDown: 1, Enter: 1 }[event.key];
    if (!step || (cell.tagName === "SELECT" && event.key !== "Enter")) return;
    const cells = [...cell.closest("[data-grid]").querySelectorAll(`[data-column="${CSS.escape(cell.dataset.column ?? "")}"]`)];
    const next = cells[cells.indexOf(cell) + step];
    if (next) {
      next.focus();
      if (next.select) next.select();
    }
    event.preventDefault();
  }

  document.addEventListener("keydown", onGridKey);
  document.addEventListener("focusin", (event) => {
    const cell = event.target.closest("[data-grid] input, [data-grid] select");
    if (cell) cell.dataset.was = cell.value;
  });
  document.addEventListener("DOMContentLoaded", () => {
    // Unfold listens to every file input, and fails where no text input of its own stands beside it; ours have none.
    for (const input of document.querySelectorAll(".console input[type=file]")) input.hasChangeListener = true;
    localTimes(document);
    confirmByName(document);
  });
  // What is broken off on purpose, or by leaving the page, is no error for the browser's console; what fails is
  // told there once, by an event of its own behind afterRequest.
  const NO_ERRORS = ["htmx:sendAbort", "htmx:afterRequest"];
  if (window.htmx) htmx.logger = (_element, name, detail) => { if (NO_ERRORS.includes(name)) delete detail.error; };
  // Django's token for every request that htmx sends.
  document.addEventListener("htmx:configRequest", (event) => {
    const token = document.querySelector("input[name=csrfmiddlewaretoken]");
    if (token) event.detail.headers["X-CSRFToken"] = token.value;
  });
  document.addEventListener("htmx:load", (event) => {
    localTimes(event.detail.elt);
    confirmByName(event.detail.elt);
  });
})();
