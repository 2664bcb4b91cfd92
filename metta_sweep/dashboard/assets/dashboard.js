// What only the browser can do: export of figures, zoom kept in new ones, and numbers in slider tips.
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

  // As the table of runs shows them.
  function shortNumber(value) {
    return window.dashAgGridFunctions.shortNumber(value);
  }

  window.dccFunctions = Object.assign({}, window.dccFunctions, {
    shortNumber: shortNumber,
    decades: (value) => shortNumber(10 ** value),
  });

  // The ranges of an axis are those of the figure on the page: Dash writes a zoom into its own copy of the figure, and
  // a whole new figure would undo it, whatever `uirevision` says.
  function withZoomOf(old, layout) {
    const kept = Object.assign({}, layout);
    for (const key of Object.keys(layout)) {
      if (!/^[xy]axis\d*$/.test(key) || !old[key]) continue;
      kept[key] = Object.assign({}, layout[key]);
      for (const part of ["range", "autorange"]) {
        delete kept[key][part];
        if (part in old[key]) kept[key][part] = old[key][part];
      }
    }
    return kept;
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dashboard: {
      // Not a dash.Patch from the server: the reply may come after another page took the figure's place, and then there
      // is nothing to patch.
      show: function (drawn, old) {
        if (!drawn) return [window.dash_clientside.no_update, window.dash_clientside.no_update];
        const figure = drawn.figure;
        const layout = drawn.keeps_zoom && old && old.layout ? withZoomOf(old.layout, figure.layout) : figure.layout;
        return [Object.assign({}, figure, { layout: layout }), { height: figure.layout.height + "px" }];
      },
      copyLink: function (clicks) {
        if (clicks && navigator.clipboard) navigator.clipboard.writeText(window.location.href);
        return clicks ? "Copied" : "Copy link";
      },
    },
  });
})();
