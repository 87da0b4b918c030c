/* Logs in with the password grant and calls the API with the access token.
 *
 * The tokens stay in this module's memory. sessionStorage would survive a reload, but a
 * duplicated tab would copy the refresh token, and using a refresh token twice ends both
 * sessions (RFC 9700 section 4.14.2).
 */

const { client, tokenUrl, revokeUrl } = document.body.dataset;
const SCOPE = "payments:read payments:write";
const UNREACHABLE = "The server cannot be reached. Check your connection, then try again.";
const ENDED = "Your session has ended. Log in again.";

const byId = (id) => document.getElementById(id);
const [loginForm, logOutForm, paymentForm, news, problem] = ["login-form", "log-out", "payment-form", "news", "problem"].map(byId);
const rows = document.querySelector("#payments tbody");

/** An error with a sentence for the user, a code, and errors by field. */
class Problem extends Error {
  constructor(message, { code = "", fields = {} } = {}) {
    super(message);
    Object.assign(this, { code, fields });
  }
}

// Call the server

let session = null; // { username, access, refresh, expiresAt, refreshing }

async function send(url, options) {
  try {
    return await fetch(url, { credentials: "omit", cache: "no-store", ...options });
  } catch {
    throw new Problem(UNREACHABLE);
  }
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

async function grant(form) {
  const body = new URLSearchParams({ client_id: client, ...form });
  const response = await send(tokenUrl, { method: "POST", body });
  const answer = await read(response);
  if (response.ok) {
    return {
      access: answer.access_token,
      refresh: answer.refresh_token,
      expiresAt: Date.now() + answer.expires_in * 1000,
    };
  }
  if (answer.error === "invalid_client" || answer.error === "unauthorized_client") {
    throw new Problem("This page is not a client of the server yet. Run manage.py demo.");
  }
  if (answer.error) throw new Problem(answer.error_description ?? answer.error, { code: answer.error });
  throw new Problem(`The server had a problem (${response.status}). Try again in a moment.`);
}

async function logIn(username, password) {
  const tokens = await grant({ grant_type: "password", username, password, scope: SCOPE });
  session = { username, ...tokens };
}

/** Also log in to the other pages of the site, whose session is a cookie that no script can read. */
async function openSession() {
  await post(loginForm.action, new FormData(loginForm));
}

/** The token of the form is old after a login. The cookie has the new one. */
async function post(url, form) {
  const token = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
  const headers = { "X-CSRFToken": token };
  form.delete("csrfmiddlewaretoken");
  await send(url, { method: "POST", body: form, headers, credentials: "same-origin", redirect: "manual" });
}

/** Refresh once at a time: a refresh token works once. */
function refresh(mine) {
  mine.refreshing ??= grant({ grant_type: "refresh_token", refresh_token: mine.refresh })
    .then((tokens) => {
      Object.assign(mine, tokens);
      if (session !== mine) revoke(mine); // logged out meanwhile
    })
    .catch((error) => {
      throw error.code === "invalid_grant" ? new Problem(ENDED, { code: "ended" }) : error;
    })
    .finally(() => (mine.refreshing = null));
  return mine.refreshing;
}

/** Revoke the refresh token. `sendBeacon` works while the page unloads. */
function revoke({ refresh }) {
  navigator.sendBeacon(revokeUrl, new URLSearchParams({ client_id: client, token: refresh }));
}

/** Call the API, and refresh an expired token first. */
async function api(path, { method = "GET", data } = {}) {
  const mine = session;
  const attempt = () => {
    if (session !== mine) throw new Problem("", { code: "stale" }); // logged out meanwhile
    const headers = { Authorization: `Bearer ${mine.access}` };
    if (data) headers["Content-Type"] = "application/json";
    return send(path, { method, headers, body: data && JSON.stringify(data) });
  };
  if (mine.refreshing || Date.now() >= mine.expiresAt) await refresh(mine);
  const used = mine.access;
  let response = await attempt();
  if (response.status === 401) {
    if (used === mine.access) await refresh(mine);
    response = await attempt();
  }
  const answer = await read(response);
  if (session !== mine) throw new Problem("", { code: "stale" });
  if (response.ok) return answer;
  if (response.status === 401) throw new Problem(ENDED, { code: "ended" });
  if (response.status === 400 && !answer.detail) {
    throw new Problem("The payment was not made. See below.", { fields: answer });
  }
  throw new Problem(answer.detail ?? `The server had a problem (${response.status}). Try again in a moment.`, {
    code: answer.code,
  });
}

// Show the answers

function element(name, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function say(where, text) {
  where.textContent = text;
  where.hidden = !text;
}

function money(amount, currency) {
  return new Intl.NumberFormat("en", { style: "currency", currency }).format(amount);
}

function showFieldErrors(form, fields) {
  let first = null;
  for (const input of form.elements) {
    if (!input.name || input.type === "hidden") continue;
    const text = [fields[input.name] ?? []].flat().join(" ");
    say(byId(`${input.id}-error`), text);
    input.setAttribute("aria-invalid", String(Boolean(text)));
    if (text) first ??= input;
  }
  first?.focus();
  return first !== null;
}

/** Return an error for each required field that is empty. */
function missing(form) {
  const empty = [...form.elements].filter((input) => input.required && !input.value.trim());
  const label = (input) => input.labels[0].textContent.toLowerCase();
  return Object.fromEntries(empty.map((input) => [input.name, `Enter the ${label(input)}.`]));
}

/** Run `action` unless it is running. The button says so with `data-busy` and keeps the focus. */
async function once(button, action) {
  if (button.ariaBusy === "true") return;
  const label = button.textContent;
  button.ariaBusy = "true";
  button.textContent = button.dataset.busy ?? label;
  try {
    await action();
  } finally {
    button.ariaBusy = "false";
    button.textContent = label;
  }
}

function showLogin(message = "") {
  const name = session?.username ?? "";
  session = null;
  loginForm.reset();
  paymentForm.reset();
  rows.replaceChildren();
  byId("totals").replaceChildren();
  say(news, "");
  say(problem, "");
  showFieldErrors(loginForm, {});
  byId("work").hidden = true;
  byId("login").hidden = false;
  document.title = "Log in · Acme Payments";
  say(byId("login-error"), message);
  if (message) byId("login-username").value = name;
  byId(message ? "login-password" : "login-username").focus();
}

function showWork() {
  byId("username").textContent = session.username;
  byId("login").hidden = true;
  byId("to-login").hidden = true;
  logOutForm.hidden = byId("work").hidden = false;
  byId("payments").hidden = byId("paying").hidden = byId("empty").hidden = true;
  byId("loading").hidden = false;
  document.title = "Payments · Acme Payments";
  byId("work-title").focus();
}

function showPayments(payments, projects) {
  const names = Object.fromEntries(projects.map(({ slug, name }) => [slug, name]));
  const cell = (label, ...children) => {
    const made = element("td", {}, ...children);
    made.setAttribute("role", "cell");
    made.className = label;
    return made;
  };
  const date = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
  rows.replaceChildren(
    ...payments.toReversed().map((payment) => {
      const made = element("time", { dateTime: payment.created_at, text: date.format(new Date(payment.created_at)) });
      const row = element(
        "tr",
        { id: `payment-${payment.number}` },
        cell("no", String(payment.number)),
        cell("what", payment.description || "No description"),
        cell("project", names[payment.project] ?? payment.project),
        cell("made", made),
        cell("number", money(payment.amount, payment.currency)),
      );
      row.setAttribute("role", "row");
      return row;
    }),
  );
  showTotals(payments);
  byId("loading").hidden = true;
  byId("payments").hidden = payments.length === 0;
  say(byId("empty"), payments.length ? "" : emptiness(projects));
}

function emptiness(projects) {
  if (projects.length) return `There are no payments in ${listed(projects)} yet.`;
  return "You are not a member of any project. Ask the owner of a project to add you.";
}

function listed(projects) {
  return new Intl.ListFormat("en").format(projects.map(({ name }) => name));
}

/** Add in whole cents, so that sums are exact. */
function showTotals(payments) {
  const cents = {};
  for (const { amount, currency } of payments) {
    cents[currency] = (cents[currency] ?? 0n) + BigInt(amount.replace(".", ""));
  }
  const total = (sum) => `${sum / 100n}.${String(sum % 100n).padStart(2, "0")}`;
  const tile = (name, text) => element("div", {}, element("dt", { text: name }), element("dd", { text }));
  byId("totals").replaceChildren(
    ...Object.entries(cents).map(([currency, sum]) => tile(`Paid in ${currency}`, money(total(sum), currency))),
    ...(payments.length ? [tile("Payments", String(payments.length))] : []),
  );
}

function showPaying(projects) {
  const payable = projects.filter((project) => project.may_pay);
  const select = byId("payment-project");
  const chosen = select.value;
  select.replaceChildren(...payable.map(({ slug, name }) => element("option", { value: slug, text: name })));
  if (payable.some(({ slug }) => slug === chosen)) select.value = chosen;
  byId("paying").hidden = projects.length === 0;
  paymentForm.hidden = payable.length === 0;
  say(byId("no-paying"), payable.length ? "" : whyNot(projects));
}

function whyNot(projects) {
  const role = projects[0]?.role ?? "member";
  return `You are a ${role} of ${listed(projects)}. A ${role} sees payments but cannot make them. An owner can give you the role of developer, who can.`;
}

async function load() {
  try {
    const [projects, payments] = await Promise.all([api("/api/projects/"), api("/api/payments/")]);
    showPayments(payments, projects);
    showPaying(projects);
    say(problem, "");
    return true;
  } catch (error) {
    byId("loading").hidden = true;
    handle(error, problem);
    return false;
  }
}

function handle(error, where) {
  if (!(error instanceof Problem)) throw error;
  if (error.code === "stale") return;
  if (error.code === "ended") showLogin(error.message);
  else say(where, error.message);
}

// Handle events

loginForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const where = byId("login-error");
  say(where, "");
  if (showFieldErrors(loginForm, missing(loginForm))) return;
  once(event.submitter ?? loginForm.querySelector("button"), async () => {
    try {
      await logIn(loginForm.username.value.trim(), loginForm.password.value);
    } catch (error) {
      const wrong = error.code === "invalid_grant";
      handle(wrong ? new Problem("The username or the password is wrong.") : error, where);
      if (wrong) loginForm.password.select();
      return;
    }
    await openSession().catch(() => {}); // without it, the links of the header ask again
    loginForm.reset();
    showWork();
    await load();
  });
});

paymentForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const where = byId("payment-error");
  say(where, "");
  say(news, "");
  if (showFieldErrors(paymentForm, missing(paymentForm))) return;
  once(event.submitter ?? paymentForm.querySelector("button"), async () => {
    const data = Object.fromEntries(new FormData(paymentForm));
    try {
      const made = await api("/api/payments/", { method: "POST", data });
      paymentForm.amount.value = paymentForm.description.value = "";
      if (await load()) byId(`payment-${made.number}`)?.classList.add("new");
      say(news, `Payment ${made.number} of ${money(made.amount, made.currency)} was made.`);
    } catch (error) {
      if (!showFieldErrors(paymentForm, error.fields ?? {})) handle(error, where);
    }
  });
});

byId("reload").addEventListener("click", (event) => {
  say(news, "");
  once(event.currentTarget, load);
});

logOutForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (session) revoke(session);
  byId("login-username").defaultValue = ""; // the user whom the server had shown
  session = null;
  showLogin();
  try {
    await post(logOutForm.action, new FormData(logOutForm));
    logOutForm.hidden = true;
    byId("to-login").hidden = false;
  } catch {
    say(byId("login-error"), "The server cannot be reached, so the other pages are still open to you. Log out again.");
  }
});

// End the session when the page unloads, so that "Back" does not restore it.
addEventListener("pagehide", () => {
  if (!session) return;
  revoke(session);
  showLogin();
});
