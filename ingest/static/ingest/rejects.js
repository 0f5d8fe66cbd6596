// The grid of rejects: a cell is judged and kept as one leaves it, arrows go from cell to cell, Escape undoes.
"use strict";

(() => {
  const CELL = "[data-cells] [data-column]";
  // One request after the other: what is answered last is what was typed last.
  let queue = Promise.resolve();
  let pending = 0;
  let failures = 0;
  const held = new Set();

  const isInput = (cell) => cell.tagName === "INPUT" || cell.tagName === "TEXTAREA";
  const shown = (tbody) => [...tbody.querySelectorAll("[data-column]")].map((cell) => cell.dataset.column);

  function post(tbody, values) {
    const address = tbody.dataset.address;
    if (!address) return;
    const id = tbody.id;
    const columns = shown(tbody);
    pending += 1;
    queue = queue
      .then(() => htmx.ajax("POST", address, { target: `#${id}`, swap: "outerHTML", values: { ...values, shown: columns } }))
      .catch(() => {})
      .then(() => { pending -= 1; });
  }

  function save(cell) {
    if (!isInput(cell) || cell.value === cell.defaultValue || cell.value === cell.dataset.sent) return;
    cell.dataset.sent = cell.value;
    post(cell.closest("tbody"), { column: cell.dataset.column, value: cell.value });
  }

  // A cell that nothing is wrong with becomes an input when somebody wants to change it.
  function open(button) {
    const was = button.dataset.value;
    const input = document.createElement(was.includes("\n") || was.length > 60 ? "textarea" : "input");
    input.id = button.id;
    input.dataset.column = button.dataset.column;
    input.dataset.opened = "";
    input.defaultValue = was;
    input.setAttribute("aria-label", button.getAttribute("aria-label").split(":")[0]);
    input.autocomplete = "off";
    input.spellcheck = false;
    input.closed = button;
    button.replaceWith(input);
    input.focus();
    if (input.select) input.select();
    return input;
  }

  function close(input) {
    if (input.closed && input.isConnected) input.replaceWith(input.closed);
  }

  function move(cell, down, right) {
    const rows = [...cell.closest("[data-cells]").querySelectorAll("tbody")];
    const cells = [...cell.closest("tbody").querySelectorAll("[data-column]")];
    let next;
    if (right) {
      next = cells[cells.indexOf(cell) + right];
    } else {
      let at = rows.indexOf(cell.closest("tbody")) + down;
      const column = CSS.escape(cell.dataset.column);
      while (rows[at] && !next) {
        next = rows[at].querySelector(`[data-column="${column}"]`);
        at += down;
      }
    }
    if (!next) return false;
    next.focus();
    if (next.select) next.select();
    return true;
  }

  // Left and right leave an input only where its text ends.
  function leaves(cell, right) {
    if (!isInput(cell)) return true;
    const at = right > 0 ? cell.value.length : 0;
    return cell.selectionStart === at && cell.selectionEnd === at;
  }

  document.addEventListener("keydown", (event) => {
    const why = event.target.closest("#why");
    if (why && event.key === "Enter") {
      // Enter behind a reason dismisses; the form's first button would send.
      event.preventDefault();
      why.parentElement.querySelector("button:last-of-type").click();
      return;
    }
    const cell = event.target.closest(CELL);
    if (!cell || event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const lines = cell.tagName === "TEXTAREA";
    if (event.key === "Escape") {
      if (isInput(cell) && cell.value !== cell.defaultValue) {
        cell.value = cell.defaultValue;
      } else if (cell.closed) {
        const button = cell.closed;
        close(cell);
        button.focus();
      } else {
        cell.blur();
      }
      event.preventDefault();
    } else if ((event.key === "Enter" && !lines) || event.key === "F2") {
      event.preventDefault();
      if (!isInput(cell)) open(cell);
      else if (!move(cell, 1, 0)) save(cell);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !lines) {
      event.preventDefault();
      move(cell, event.key === "ArrowDown" ? 1 : -1, 0);
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const right = event.key === "ArrowRight" ? 1 : -1;
      if (leaves(cell, right) && move(cell, 0, right)) event.preventDefault();
    }
  });

  document.addEventListener("focusout", (event) => {
    const cell = event.target.closest?.(CELL);
    if (!cell || !isInput(cell)) return;
    if (cell.value !== cell.defaultValue) save(cell);
    else if (cell.closed) setTimeout(() => { if (document.activeElement !== cell) close(cell); });
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cells] button");
    if (!button) return;
    const tbody = button.closest("tbody");
    if (button.dataset.restore !== undefined) post(tbody, { column: button.dataset.restore, restore: "1" });
    else if (button.dataset.take !== undefined) post(tbody, {});
    else if (button.dataset.column !== undefined) open(button);
  });

  // The press on a button leaves the cell, and its answer may be there before the button is let go.
  let before = 0;
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => { before = failures; }, true);

  function hasFailed() {
    if (failures === before) return false;
    document.querySelector("[data-cells] p.error")?.scrollIntoView({ block: "nearest" });
    return true;
  }

  // What is sent is what was typed last: a form waits until every cell is kept, and goes nowhere where one is not.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    document.querySelectorAll(CELL).forEach(save);
    if (!pending && !hasFailed()) return;
    event.preventDefault();
    event.stopPropagation();
    if (held.has(form)) return;
    held.add(form);
    const { submitter } = event;
    queue.then(() => {
      held.delete(form);
      if (hasFailed()) return;
      if (form.isConnected) form.requestSubmit(submitter);
      // The sums came again meanwhile, with a form like it.
      else document.querySelector(`#standing form[action="${CSS.escape(form.getAttribute("action"))}"]`)?.requestSubmit();
    });
  }, true);

  window.addEventListener("beforeunload", (event) => {
    if (pending) event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) {
      for (const box of document.querySelectorAll("[data-cells] input[name=row]")) box.checked = event.target.checked;
    }
    if (event.target.matches("[data-reload]")) {
      const address = new URL(window.location.href);
      address.searchParams.set("column", event.target.value);
      window.location.assign(address);
    }
    if (event.target.id === "how") ways();
  });

  // A row that comes back must not take away its tick, nor what is being typed into it meanwhile.
  let kept = null;
  let ticked = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    ticked = event.detail.target.querySelector("input[name=row]:checked") ? event.detail.target.id : "";
    const cell = document.activeElement?.closest?.(CELL);
    kept = cell && event.detail.target.contains(cell)
      ? { id: cell.id, value: cell.value, start: cell.selectionStart, end: cell.selectionEnd, typed: isInput(cell) && cell.value !== cell.defaultValue && cell.value !== cell.dataset.sent }
      : null;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const row = document.getElementById(event.detail.target.id);
    if (row?.matches("tbody")) {
      if (row.querySelector("p.error")) failures += 1;
      if (ticked === row.id) row.querySelector("input[name=row]").checked = true;
    }
    if (!kept) return;
    const { id, value, start, end, typed } = kept;
    kept = null;
    let cell = document.getElementById(id);
    if (!cell) return;
    if (typed && !isInput(cell)) cell = open(cell);
    if (typed) cell.value = value;
    cell.focus();
    if (start !== undefined && isInput(cell)) cell.setSelectionRange(start, end);
  });

  // Beside the row that was not kept; elsewhere at the top of what the answer was to fill.
  function told(event, ofRow, elsewhere) {
    failures += 1;
    const { target } = event.detail;
    target?.querySelectorAll?.("[data-sent]").forEach((cell) => { delete cell.dataset.sent; });
    const line = target?.querySelector?.(".why td[colspan]");
    const place = line ?? document.getElementById(target?.id) ?? target;
    if (!place) return;
    place.querySelector(":scope > [data-told]")?.remove();
    const told = document.createElement("p");
    told.className = "error";
    told.dataset.told = "";
    told.setAttribute("role", "alert");
    told.textContent = line ? ofRow : elsewhere;
    place.prepend(told);
  }
  document.addEventListener("htmx:sendError", (event) => told(event,
    "The console did not answer; what you typed is not kept. Try again.",
    "The console did not answer. Try again in a while."));
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    // The console says in a plain sentence what it can say; a page is none.
    const said = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain") ? xhr.responseText : "";
    told(event, said || "The console could not keep this. Load the page again.",
      said || "The console could not do this. Load the page again, and try once more.");
  });

  // What only some ways of fixing ask for.
  function ways() {
    const how = document.getElementById("how");
    if (!how) return;
    for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(how.value);
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    const button = event.detail.elt.matches("[data-busy]") ? event.detail.elt : event.detail.elt.querySelector?.("button[data-busy]");
    if (!button) return;
    button.dataset.idle = button.textContent;
    button.textContent = button.dataset.busy;
    button.disabled = true;
  });
  document.addEventListener("htmx:afterRequest", () => {
    for (const button of document.querySelectorAll("button[data-idle]")) {
      button.textContent = button.dataset.idle;
      button.disabled = false;
      delete button.dataset.idle;
    }
  });
  document.addEventListener("DOMContentLoaded", ways);
})();
