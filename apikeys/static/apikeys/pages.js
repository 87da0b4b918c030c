// Comforts of the settings pages; everything works without them.
"use strict";

(() => {
  // The server shows times in the time zone of the reader, from the next page on
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`apikeys_tz=${zone}`)) {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `apikeys_tz=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
  }

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

  // Ticking a project selects "only these", and selecting all projects unticks them. A date
  // goes with the custom expiry alone. The server refuses forms that contradict themselves.
  for (const group of document.querySelectorAll("[data-ak-reach]")) {
    group.addEventListener("input", ({ target }) => {
      if (target.name === "projects" && target.checked) {
        group.querySelector('[name="reach"][value="selected"]').checked = true;
      } else if (target.name === "reach" && target.value === "all") {
        for (const box of group.querySelectorAll('[name="projects"]')) box.checked = false;
      }
    });
  }
  for (const group of document.querySelectorAll("[data-ak-expiry]")) {
    group.addEventListener("input", ({ target }) => {
      if (target.name === "expires_on" && target.value) {
        group.querySelector('[name="expiry"][value="custom"]').checked = true;
      } else if (target.name === "expiry" && target.value !== "custom") {
        group.querySelector('[name="expires_on"]').value = "";
      }
    });
  }

  // Select all rows of a list, and count the selected ones
  for (const form of document.querySelectorAll("[data-ak-bulk]")) {
    const all = form.querySelector("[data-ak-all]");
    const buttons = [...form.querySelectorAll("[data-ak-selected]")];
    if (!all || !buttons.length) continue;
    const boxes = [...form.querySelectorAll('[name="id"]:enabled')];
    const labels = buttons.map((button) => button.textContent);
    const update = () => {
      const number = boxes.filter((box) => box.checked).length;
      buttons.forEach((button, index) => {
        button.disabled = !number;
        button.textContent = number ? `${labels[index]} (${number})` : labels[index];
      });
      all.checked = number === boxes.length;
      all.indeterminate = number > 0 && number < boxes.length;
    };
    all.parentElement.hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
    });
    form.addEventListener("change", update);
    addEventListener("pageshow", update);
    update();
  }

  // The first field with an error gets the focus
  const wrong = document.querySelector(".ak-error a[href^='#']");
  if (wrong && !document.querySelector("[autofocus]")) {
    const field = document.getElementById(wrong.hash.slice(1));
    const inputs = "input:enabled, select, textarea";
    if (field) (field.matches(inputs) ? field : field.querySelector(inputs) ?? field).focus();
  }

  // Add an address to a list
  for (const button of document.querySelectorAll("[data-ak-add]")) {
    const field = document.getElementById(button.dataset.akTo);
    button.hidden = false;
    button.addEventListener("click", () => {
      const entries = field.value.split(/[\s,]+/).filter(Boolean);
      if (!entries.includes(button.dataset.akAdd)) entries.push(button.dataset.akAdd);
      field.value = entries.join("\n");
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.focus();
    });
  }

  // Find one of many choices
  for (const box of document.querySelectorAll("[data-ak-find]")) {
    const choices = [...box.querySelectorAll(box.matches(".ak-choices") ? "label" : "fieldset")];
    if (choices.length < 9) continue;
    const find = document.createElement("input");
    find.type = "search";
    find.placeholder = box.dataset.akFind;
    find.setAttribute("aria-label", box.dataset.akFind);
    box.before(find);
    find.addEventListener("input", (event) => {
      event.stopPropagation();
      const words = find.value.toLowerCase().trim();
      for (const rest of box.querySelectorAll("details")) rest.open = Boolean(words);
      for (const choice of choices) {
        choice.hidden = !choice.textContent.toLowerCase().includes(words);
      }
    });
    find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
  }

  // Call the API with a new key, and say who it acts as
  for (const test of document.querySelectorAll("[data-ak-test]")) {
    const words = document.querySelector("[data-ak-words]").dataset;
    const result = test.querySelector("[data-ak-result]");
    const counted = document.querySelector("[data-ak-counted]");
    test.hidden = false;
    test.querySelector("button").addEventListener("click", async () => {
      result.textContent = "…";
      try {
        const answer = await fetch(test.dataset.akTest, {
          headers: { Authorization: `Bearer ${document.querySelector(test.dataset.akKey).value}` },
          credentials: "omit",
          cache: "no-store",
          redirect: "error",
        });
        const about = await answer.json().catch(() => ({}));
        const who = about.user ?? about.project ?? "";
        const scopes = Array.isArray(about.scopes) ? about.scopes.join(", ") : "";
        result.textContent = answer.ok
          ? [answer.status, who && `${words.akWorks} ${who}`, scopes].filter(Boolean).join(" · ")
          : `${answer.status} · ${about.detail ?? words.akRefused}`;
        if (counted && answer.ok) counted.hidden = false;
      } catch {
        result.textContent = words.akFailed;
      }
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
      // The Enter key presses another button of the form, with the same name.
      for (const each of form.elements) {
        if (each.name === button.name) each.value = text === null ? "review" : "make";
      }
      button.textContent = text === null ? review : button.dataset.akLabel;
    };

    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(update, 200);
    });
    update();
  }
})();
