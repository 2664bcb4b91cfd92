// What only the browser can do: export of figures, the address bar, the theme, and numbers in slider tips.
(function () {
  "use strict";

  document.addEventListener("click", function (event) {
    const button = event.target.closest("[data-export]");
    if (!button) return;
    const graph = button.closest(".card").querySelector(".js-plotly-plot");
    if (!graph || !window.Plotly) return;
    const title = button.closest(".card").querySelector("h2").textContent.trim().toLowerCase().replace(/\W+/g, "_");
    const size = graph.getBoundingClientRect();
    window.Plotly.downloadImage(graph, {
      format: button.dataset.export,
      filename: title,
      width: Math.round(size.width),
      height: Math.round(size.height),
      scale: button.dataset.export === "png" ? 2 : 1,
    });
  });

  function shortNumber(value) {
    const size = Math.abs(value);
    if (size >= 100) return Math.round(value).toLocaleString("en-US");
    return size >= 1 || size === 0 ? String(+value.toFixed(2)) : String(+value.toPrecision(3));
  }

  window.dccFunctions = Object.assign({}, window.dccFunctions, {
    shortNumber: shortNumber,
    decades: function (value) {
      return shortNumber(10 ** value);
    },
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dashboard: {
      address: function (search) {
        const old = window.location.search;
        if (search && search !== old) window.history.replaceState(null, "", search);
        return window.dash_clientside.no_update;
      },
      theme: function (dark) {
        document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
        return window.dash_clientside.no_update;
      },
      copyLink: function (clicks) {
        if (clicks && navigator.clipboard) navigator.clipboard.writeText(window.location.href);
        return clicks ? "Copied" : "Copy link";
      },
    },
  });
})();
