// Copies a new secret on the page of the admin that shows it. It works without this, too.
"use strict";

for (const button of document.querySelectorAll("[data-apikeys-copy]")) {
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const shown = document.querySelector(button.dataset.apikeysCopy);
    getSelection().selectAllChildren(shown);
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch {
      // No clipboard without HTTPS; the text is selected, so the old command may do.
      if (!document.execCommand("copy")) return;
    }
    button.textContent = button.dataset.apikeysDone;
    setTimeout(() => {
      button.textContent = label;
    }, 3000);
  });
}
