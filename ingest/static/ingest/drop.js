// A file can be dropped where one can be chosen: it goes into the very input, so the form stays as it is.
"use strict";

for (const zone of document.querySelectorAll("[data-drop]")) {
  const input = zone.querySelector("input[type=file]");
  const note = zone.querySelector("[data-dropped]");
  const said = note.textContent;

  const show = () => {
    const file = input.files[0];
    note.textContent = file ? `${file.name}, ${file.size.toLocaleString()} bytes` : said;
  };
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };

  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files.length) {
      const one = new DataTransfer();
      one.items.add(event.dataTransfer.files[0]);
      input.files = one.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
  input.addEventListener("change", show);
}
