// A button that copies what is shown once.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const word = button.querySelector("[aria-live]");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    word.textContent = "Copied";
  } catch {
    // Browsers give the clipboard to pages by https only: select the text, so that Ctrl+C is enough.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    word.textContent = "Press Ctrl+C";
  }
});
