// Says what a form that takes some seconds is doing, and for how long. Without this script the browser's sign does.
"use strict";

for (const form of document.querySelectorAll("form[data-progress]")) {
  const button = form.querySelector("button");
  const status = form.querySelector("[role=status]");
  let timer;

  form.addEventListener("submit", () => {
    const start = Date.now();
    const show = () => {
      const seconds = Math.floor((Date.now() - start) / 1000);
      status.dataset.elapsed = seconds > 0 ? ` ${seconds} s` : "";
    };
    button.disabled = true;
    status.textContent = form.dataset.progress;
    show();
    timer = setInterval(show, 1000);
  });

  // A browser that kept this page for its Back button shows it as it was left.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      clearInterval(timer);
      button.disabled = false;
      status.textContent = "";
      status.dataset.elapsed = "";
    }
  });
}
