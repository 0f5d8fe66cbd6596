// A choice of schedules beside the field that takes any of them.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const field of document.querySelectorAll("[data-schedule]")) {
    const choice = field.querySelector("select");
    const cron = field.querySelector("input");
    const known = [...choice.options].map((option) => option.value);
    const follow = () => { choice.value = known.includes(cron.value.trim()) ? cron.value.trim() : "own"; };
    follow();
    cron.addEventListener("input", follow);
    choice.addEventListener("change", () => {
      if (choice.value === "own") {
        cron.focus();
        return;
      }
      cron.value = choice.value;
      cron.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
});
