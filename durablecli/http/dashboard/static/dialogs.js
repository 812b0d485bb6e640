// Ctrl+Enter in a text sends its form. Links with data-dialog open their page in a dialog: the element #verb of it. Without this script they are plain links.
(() => {
  "use strict";

  let opener = null;
  addEventListener("load", () => setTimeout(() => { history.scrollRestoration = "auto"; }));

  function makeDialog() {
    const made = document.createElement("dialog");
    made.id = "verb-dialog";
    made.setAttribute("aria-labelledby", "verb-title");
    made.addEventListener("close", () => {
      made.remove();
      const again = opener?.isConnected ? opener : document.querySelector(`a[data-dialog][href="${CSS.escape(opener?.getAttribute("href") ?? "")}"]`);
      again?.focus();
    });
    document.body.append(made);
    return made;
  }

  async function load(url, options = {}) {
    const response = await fetch(url, { ...options, headers: { "HX-Request": "true" } });
    const next = response.headers.get("HX-Redirect");
    if (next) {
      if (new URL(next, location.href).href === location.href) {
        history.scrollRestoration = "manual"; // the reloaded page says at its top what was done
        location.reload();
      }
      else location.assign(next);
      return;
    }
    const text = await response.text();
    const isPage = response.headers.get("Content-Type")?.startsWith("text/html"); // an error is a text, which may quote anything
    let part = isPage ? new DOMParser().parseFromString(text, "text/html").getElementById("verb") : null;
    if (!part) {
      part = document.createElement("p");
      part.textContent = text.slice(0, 1000);
    }
    const dialog = document.getElementById("verb-dialog") ?? makeDialog();
    dialog.replaceChildren(document.adoptNode(part));
    if (!dialog.open) dialog.showModal();
    const first = part.querySelector("[aria-invalid=true], input:not([type=hidden]), textarea, select") ?? part.querySelector("button, a");
    first?.focus();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      opener = link;
      load(link.href).catch(() => location.assign(link.href));
      return;
    }
    const close = event.target.closest("#verb-dialog [data-close]");
    if (close) {
      event.preventDefault();
      close.closest("dialog").close();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("form[method=post] textarea")) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.closest("#verb-dialog") || form.method !== "post") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const button = form.querySelector("button:not([type=button])");
    button.disabled = true;
    load(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => {
      button.disabled = false;
      let message = form.querySelector(".unreachable");
      if (!message) {
        message = document.createElement("p");
        message.className = "flash error unreachable";
        message.setAttribute("role", "alert");
        form.prepend(message);
      }
      message.textContent = "The server can't be reached. Nothing is lost: try again.";
    });
  }, true);
})();
