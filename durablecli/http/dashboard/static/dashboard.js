// The little that the pages need of a script: live content, the keyboard, and the choice of light or dark.
(() => {
  "use strict";

  // ── light and dark: a cookie, so that the server sends each page in the chosen one ──────────────────────────────

  const toggle = document.getElementById("theme-toggle");
  if (toggle) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      document.cookie = `durable_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
    });
  }

  // ── live content: an element with data-live=URL asks for itself again when that stream says so ─────────────────
  // Each request waits until the one before is answered, and takes at most a tenth of the time. A page that isn't
  // visible has no stream. Nothing is replaced while the user has a dialog open or types in the element.

  const MIN_PAUSE = 1000;
  const streams = new Map();

  class Stream {
    constructor(url) {
      this.url = url;
      this.changed = this.busy = false;
      this.pause = MIN_PAUSE;
      this.timer = this.source = null;
    }
    open() {
      if (this.source) return;
      this.source = new EventSource(this.url);
      this.source.addEventListener("change", () => this.notice());
    }
    close() {
      this.source?.close();
      this.source = null;
      clearTimeout(this.timer);
      this.timer = null;
    }
    notice() {
      this.changed = true;
      if (!this.timer && !this.busy) this.timer = setTimeout(() => this.refresh(), this.refreshed ? this.pause : 0);
    }
    async refresh() {
      this.timer = null;
      const parts = [...document.querySelectorAll("[data-live]")].filter((each) => each.dataset.live === this.url);
      if (parts.some(isInUse)) {
        this.timer = setTimeout(() => this.refresh(), MIN_PAUSE);
        return;
      }
      this.changed = false;
      this.busy = this.refreshed = true;
      const begin = performance.now();
      await Promise.all(parts.map((each) => htmx.ajax("GET", each.getAttribute("hx-get"), {
        source: each, target: each, swap: "outerHTML", select: each.getAttribute("hx-select"),
      }).catch(() => {})));
      this.pause = Math.max(MIN_PAUSE, 10 * (performance.now() - begin));
      this.busy = false;
      if (this.changed) this.notice();
    }
  }

  function isInUse(element) {
    if (document.querySelector("dialog[open]")) return true;
    const focused = document.activeElement;
    return element.contains(focused) && focused.matches("input:not([type=checkbox]), textarea, select");
  }

  // The user may stop the updates; the choice is kept for the tab.
  const liveToggle = document.getElementById("live-toggle");
  const isStopped = () => liveToggle?.getAttribute("aria-pressed") === "false";
  if (liveToggle) {
    liveToggle.hidden = false;
    liveToggle.setAttribute("aria-pressed", sessionStorage.getItem("live") !== "off");
    liveToggle.addEventListener("click", () => {
      liveToggle.setAttribute("aria-pressed", isStopped());
      sessionStorage.setItem("live", isStopped() ? "off" : "on");
      watch();
    });
  }

  function watch() {
    const wanted = document.hidden || isStopped() ? new Set() : new Set([...document.querySelectorAll("[data-live]")].map((each) => each.dataset.live));
    for (const [url, stream] of streams) {
      if (!wanted.has(url)) {
        stream.close();
        streams.delete(url);
      }
    }
    for (const url of wanted) {
      if (!streams.has(url)) streams.set(url, new Stream(url));
      streams.get(url).open();
    }
  }
  document.addEventListener("visibilitychange", watch);
  addEventListener("pagehide", () => { for (const stream of streams.values()) stream.close(); streams.clear(); });
  addEventListener("pageshow", watch);
  document.addEventListener("htmx:afterSettle", watch);

  // What the user has opened, ticked and focused in an element stays so when the element is replaced. htmx itself keeps
  // the focus of what has an id.
  let kept = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const old = event.detail.target;
    if (old.dataset.live && event.detail.xhr.status === 404) {
      event.detail.isError = false; // what it shows was purged: the page says so
      if (!document.querySelector("dialog[open]")) location.reload();
      return;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    kept = {
      open: [...old.querySelectorAll("details[id]")].map((each) => [each.id, each.open]),
      ticked: [...old.querySelectorAll("input[type=checkbox]:checked")].map((each) => [each.name, each.value]),
      current: old.querySelector("[data-row][data-current]")?.dataset.row,
      focusedRow: focused?.closest("[data-row]")?.dataset.row,
      focusedTag: focused?.localName,
      focusedLink: focused?.getAttribute("href"),
      chosen: [...old.querySelectorAll("select[id]")].map((each) => [each.id, each.value]),
    };
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (!kept) return;
    for (const [id, open] of kept.open) {
      const found = document.getElementById(id);
      if (found) found.open = open;
    }
    for (const [id, value] of kept.chosen) {
      const found = document.getElementById(id);
      if (found) found.value = value;
    }
    for (const [name, value] of kept.ticked) {
      const found = document.querySelector(`input[type=checkbox][name="${CSS.escape(name)}"][value="${CSS.escape(value)}"]`);
      if (found) found.checked = true;
    }
    if (kept.current) mark(findRow(kept.current), false);
    if (kept.focusedRow) findRow(kept.focusedRow)?.querySelector(kept.focusedTag)?.focus({ preventScroll: true });
    else if (kept.focusedLink) document.querySelector(`a[href="${CSS.escape(kept.focusedLink)}"]`)?.focus({ preventScroll: true });
    kept = null;
    localize();
    showTicked();
  });
  const findRow = (id) => document.querySelector(`[data-row="${CSS.escape(id)}"]`);

  // ── times: the exact one, in the zone of the user, and how long ago it is by now ───────────────────────────────

  const skew = Date.parse(document.documentElement.dataset.now) - Date.now();

  function localize() {
    for (const each of document.querySelectorAll("time[datetime]:not([data-local])")) {
      each.dataset.local = "";
      const time = new Date(each.dateTime);
      if (!Number.isNaN(time.valueOf())) each.title = `${time.toLocaleString(undefined, { timeZoneName: "short" })}\n${each.title}`;
    }
  }

  // As template_filters.format_seconds on the server.
  function formatSeconds(seconds) {
    if (seconds < 1) return `${Math.round(Math.max(seconds, 0) * 1000)} ms`;
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 60) return `${Math.floor(seconds)} s`;
    const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
    if (hours < 1) return seconds % 60 >= 1 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${minutes} min`;
    if (days < 1) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
    return hours % 24 && days < 30 ? `${days} d ${hours % 24} h` : `${days} d`;
  }

  function formatAgo(seconds) {
    if (seconds > -1 && seconds < 1) return "just now";
    if (seconds < 0) return `in ${formatSeconds(-seconds)}`;
    return seconds < 10 ? `${Math.floor(seconds)} s ago` : `${formatSeconds(Math.floor(seconds)).split(" ").slice(0, 2).join(" ")} ago`;
  }

  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now() + skew;
    const update = (each, text) => { if (each.textContent !== text) each.textContent = text; };
    for (const each of document.querySelectorAll("time[data-ago]")) update(each, formatAgo((now - Date.parse(each.dateTime)) / 1000));
    for (const each of document.querySelectorAll("[data-since]")) {
      const seconds = (now - Date.parse(each.dataset.since)) / 1000;
      update(each, formatSeconds(seconds < 1 ? seconds : Math.floor(seconds)).replace(".0 s", " s"));
    }
  }, 1000);

  // ── keyboard ────────────────────────────────────────────────────────────────────────────────────────────────────

  const help = document.getElementById("help");
  const helpButton = document.getElementById("help-open");
  if (helpButton) {
    helpButton.hidden = false;
    helpButton.addEventListener("click", () => help.showModal());
  }

  function mark(row, focus = true) {
    if (!row) return;
    for (const each of document.querySelectorAll("[data-current]")) delete each.dataset.current;
    row.dataset.current = "";
    if (focus) row.querySelector("a")?.focus({ preventScroll: true });
    if (focus) row.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const at = rows.findIndex((row) => "current" in row.dataset);
    mark(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)]);
  }

  let goingUntil = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const going = Date.now() < goingUntil;
    goingUntil = 0;
    if (going) {
      const link = document.querySelector(`.top [data-key="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    if (event.key === "g") goingUntil = Date.now() + 1500;
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    else if (event.key === "x") document.querySelector("[data-current] input[name=id]")?.click();
    else if (event.key === "?") help?.showModal();
    else if (event.key === "/") {
      const field = document.querySelector('[data-key="/"]');
      if (field) {
        event.preventDefault();
        field.focus();
        field.select();
      }
    }
  });

  // ── forms ───────────────────────────────────────────────────────────────────────────────────────────────────────

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "get") {
      // Fields that are empty stay out of the URL.
      for (const field of form.querySelectorAll("input[name], select[name]")) field.disabled = !field.value;
      setTimeout(() => { for (const field of form.querySelectorAll("input[name], select[name]")) field.disabled = false; });
    } else if (form.method === "post") {
      if (form.dataset.sent) event.preventDefault(); // a second click sends nothing
      else form.dataset.sent = "1";
    }
  });
  addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches(".filters select, .filters input[type=checkbox]")) field.form.requestSubmit();
    if (field.id === "tick-all") for (const each of field.form.querySelectorAll("input[name=id]")) each.checked = field.checked;
    if (field.matches("#tick-all, input[name=id]")) showTicked();
  });

  // What the bulk verbs apply to.
  function showTicked() {
    const all = document.getElementById("tick-all");
    const label = document.getElementById("bulk-label");
    if (!all || !label) return;
    const boxes = [...all.form.querySelectorAll("input[name=id]")];
    const ticked = boxes.filter((each) => each.checked).length;
    all.hidden = false;
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
    label.textContent = ticked ? `With ${ticked} ticked:` : "With all that match:";
  }

  localize();
  showTicked();
  watch();
})();
