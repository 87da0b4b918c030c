// Comforts of the settings pages; everything works without them.
"use strict";

(() => {
  // Copy buttons
  for (const button of document.querySelectorAll("[data-ak-copy]")) {
    const label = button.innerHTML;
    const status = document.getElementById("ak-status");
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.querySelector(button.dataset.akCopy);
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
      } catch {
        // No clipboard without HTTPS; the text is selected, so the old command may do.
        if (!document.execCommand("copy")) return;
      }
      button.textContent = button.dataset.akDone;
      if (status) status.textContent = button.dataset.akDone;
      setTimeout(() => {
        button.innerHTML = label;
        if (status) status.textContent = "";
      }, 3000);
    });
  }

  // A secret does not wait in a browser's memory of pages for "Back".
  addEventListener("pagehide", () => {
    for (const field of document.querySelectorAll("[data-ak-secret]")) {
      field.value = "";
      field.defaultValue = "";
    }
  });

  // The summary follows the form, so there is no step of review. The server words it.
  for (const form of document.querySelectorAll("[data-ak-summary]")) {
    const summary = document.querySelector(form.dataset.akSummary);
    const button = form.querySelector("[data-ak-label]");
    const review = button.textContent;
    let timer, latest = 0;

    const update = async () => {
      const mine = ++latest;
      const data = new FormData(form);
      data.set("step", "summary");
      let text = null;
      try {
        const answer = await fetch(form.action, { method: "POST", body: data, redirect: "error" });
        if (answer.ok) text = await answer.text();
      } catch {
        // Without a summary there is the review.
      }
      if (mine !== latest) return;
      if (text !== null) summary.innerHTML = text;
      button.value = text === null ? "review" : "make";
      button.textContent = text === null ? review : button.dataset.akLabel;
    };

    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(update, 200);
    });
    update();
  }
})();
