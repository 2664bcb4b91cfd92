// The page's frame in the browser: the address bar, the tab's title, and the theme, which is remembered.
(function () {
  "use strict";

  const COOKIE = "metta_sweep_theme"; // read by shell_callbacks.py
  const YEAR_SECONDS = 31536000;

  function remembered() {
    return (document.cookie.match(new RegExp("(?:^|; )" + COOKIE + "=(light|dark)")) || [])[1] || "light";
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    shell: {
      // A light page says so only to a browser that remembers the other theme.
      address: function (search) {
        const isTold = !search || search.includes("theme=") || remembered() === "light";
        const whole = isTold ? search : `${search}${search === "?" ? "" : "&"}theme=light`;
        if (whole && whole !== window.location.search) window.history.replaceState(null, "", whole);
        return window.dash_clientside.no_update;
      },
      theme: function (dark) {
        const chosen = dark ? "dark" : "light";
        const page = document.documentElement;
        // Not when the page opens: a link may carry a theme for once.
        if (page.dataset.bsTheme !== chosen) {
          document.cookie = `${COOKIE}=${chosen}; path=/; max-age=${YEAR_SECONDS}; SameSite=Strict`;
        }
        page.dataset.bsTheme = chosen;
        return window.dash_clientside.no_update;
      },
      title: function (search, labels) {
        const query = new URLSearchParams(search || "");
        const page = query.get("page") || (query.get("sweep") ? "overview" : "home");
        const label = labels[page];
        const whose = page === "home" ? [] : [query.get("sweep"), query.get("run")].filter(Boolean).reverse();
        document.title = [...whose.slice(0, -1), label, ...whose.slice(-1), "metta_sweep"].join(" · ");
        return label;
      },
    },
  });
})();
