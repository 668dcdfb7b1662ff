// Sends what is said of an incident without leaving the page. Without this script the forms go the usual way.
"use strict";
for (const form of document.querySelectorAll("form.tell")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answered = form.querySelector("output"), body = new URLSearchParams(new FormData(form, event.submitter));
    answered.textContent = "…";
    try {
      const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body });
      answered.textContent = (await answer.json()).line;
      answered.className = answer.ok ? "noted" : "refused";
    } catch {
      answered.textContent = "The answer could not be read. Reload the page to see whether it was noted.";
      answered.className = "refused";
    }
  });
}
