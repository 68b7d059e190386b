"use strict";

// Asks the browser's authenticator for what the page says, and posts its answer with the form. It asks nobody else.
const form = document.querySelector("form[data-passkey]");
const state = document.querySelector(".state");
const WHY = {
  NotAllowedError: "The passkey was not used: you or your browser said no, or it took too long. You can try again.",
  InvalidStateError: "This device holds a passkey of your account already.",
  NotSupportedError: "This device cannot make a passkey that this service understands.",
};

function bytesOf(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

function textOf(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function optionsOf(json) {
  const options = JSON.parse(json);
  const withBytes = (one) => ({ ...one, id: bytesOf(one.id) });
  options.challenge = bytesOf(options.challenge);
  if (options.user) {
    options.user = withBytes(options.user);
  }
  for (const list of ["excludeCredentials", "allowCredentials"]) {
    options[list] = (options[list] || []).map(withBytes);
  }
  return options;
}

function answerOf(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) {
      response[name] = textOf(credential.response[name]);
    }
  }
  return JSON.stringify({
    id: credential.id, rawId: textOf(credential.rawId), type: credential.type, response,
  });
}

async function ask() {
  const publicKey = optionsOf(form.dataset.options);
  const credential = form.dataset.passkey === "create"
    ? await navigator.credentials.create({ publicKey })
    : await navigator.credentials.get({ publicKey });
  form.elements.answer.value = answerOf(credential);
  form.submit();
}

async function begin() {
  if (!form.reportValidity()) {
    return;
  }
  const button = form.querySelector("button");
  button.disabled = true;
  state.textContent = "Waiting for your passkey…";
  try {
    await ask();
  } catch (error) {
    state.textContent = WHY[error.name] || `Your browser could not use a passkey here (${error.name}).`;
    button.disabled = false;
  }
}

function sendThere(origin) {
  const link = document.createElement("a");
  link.href = origin + "/account/passkeys";
  link.textContent = origin;
  state.replaceChildren("Passkeys of this service work only at its address ", link, ". Log in there first.");
  form.querySelector("button").disabled = true;
}

if (form.dataset.origin !== location.origin) {
  sendThere(form.dataset.origin);
} else if (!window.PublicKeyCredential) {
  state.textContent = "This browser knows no passkeys.";
  form.querySelector("button").disabled = true;
} else {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  if ("atOnce" in form.dataset) {
    begin();
  }
}
