// Takes the customer on to CyberSource without a click. Without this script the button does.
"use strict";

const form = document.getElementById("checkout");
const button = form.querySelector("button");
const status = document.getElementById("status");

// The second of two clicks would only lead to CyberSource's error page for duplicates.
form.addEventListener("submit", () => {
  button.disabled = true;
  status.textContent = "Taking you to CyberSource…";
  // The same form again leads to the same checkout, which charges once.
  setTimeout(() => {
    button.disabled = false;
    status.textContent = "CyberSource hasn't answered yet. You can wait, or press the button to try again. You won't be charged twice.";
  }, 10000);
});

// A browser that kept this page for its Back button shows it with the button still off.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    button.disabled = false;
    status.textContent = "";
  }
});

form.requestSubmit();
