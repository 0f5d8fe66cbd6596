// A drop zone is a file input of its full size; here it only tells which file was chosen, and that one hangs over it.
"use strict";

(() => {
  const inputOf = (event) => event.target.closest?.(".drop input[type=file]");

  document.addEventListener("change", (event) => {
    const file = inputOf(event)?.files[0];
    if (file) event.target.closest(".drop").querySelector("[data-chosen]").textContent = `${file.name}, ${file.size.toLocaleString()} bytes`;
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      inputOf(event)?.closest(".drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    });
  }
})();
