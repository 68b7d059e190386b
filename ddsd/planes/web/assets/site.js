"use strict";

// The link's code is in the fragment, which no server sees. It goes into the form, and out of the address bar.
function takeCode() {
  const code = location.hash.slice(1);
  if (!code || document.getElementById(code)) {
    return false;
  }
  history.replaceState(null, "", location.pathname);
  const field = document.querySelector("[data-link-code]");
  if (!field) {
    return false;
  }
  field.value = code;
  field.removeAttribute("aria-invalid");
  return true;
}

function hideCode() {
  const field = document.querySelector("[data-link-code]");
  if (field && field.value && field.getAttribute("aria-invalid") !== "true") {
    field.closest(".field").hidden = true;
  }
}

function arrive() {
  const taken = takeCode();
  hideCode();
  if (taken) {
    const form = document.querySelector("form[data-submit-at-once]");
    if (form) {
      form.requestSubmit();
    }
  }
}

addEventListener("hashchange", arrive);
arrive();

// A problem is read out first, and its link leads into the field.
const problems = document.querySelector(".problems");
if (problems) {
  problems.focus();
  problems.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const field = link && document.getElementById(link.hash.slice(1));
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
}
