// The table of runs: what its cells show, how its rows are kept up to date, and what of its state goes into the
// address.
(function () {
  "use strict";

  const GRID = "runs-grid";
  let words = []; // of the search; every one must stand in a run's texts
  let texts = ["id"]; // fields that are searched
  const searched = new WeakMap(); // text of a row, made when it is first asked for

  function textOf(row) {
    if (!searched.has(row)) {
      searched.set(row, texts.map((field) => row[field] ?? "").join("\n").toLowerCase());
    }
    return searched.get(row);
  }

  // As `theme.number` writes it: four digits, thousands with commas.
  function shortNumber(value) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en-US");
    if (size >= 10000 && size < 1e15) return Math.round(value).toLocaleString("en-US");
    const short = value.toPrecision(4);
    return size < 1e-4 || size >= 1e15 ? (+short).toExponential() : String(+short);
  }

  // As `analysis.duration.elapsed` says it: in its two largest units.
  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "";
    if (seconds < 9.95) return `${+seconds.toPrecision(2)} s`;
    const step = seconds >= 86370 ? 3600 : seconds >= 3599.5 ? 60 : 1; // of hours the seconds are left out
    let rest = Math.round(seconds / step) * step;
    const parts = [];
    for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
      const count = Math.floor(rest / length);
      rest -= count * length;
      if (count) parts.push(`${count.toLocaleString("en-US")} ${unit}`);
    }
    return parts.join(" ");
  }

  // As `theme.dollars` writes it: cents below a hundred dollars, two digits below a cent.
  function dollars(value) {
    if (value === null || value === undefined) return "";
    const size = Math.abs(value);
    if (size > 0 && size < 0.005) return `$${+value.toPrecision(2)}`;
    const digits = size < 100 ? 2 : 0;
    return `$${value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
  }

  // What is not known stands last, whichever way the column is sorted.
  function unknownLast(a, b, _rowA, _rowB, isDescending) {
    const [hasA, hasB] = [a !== null && a !== undefined, b !== null && b !== undefined];
    if (!hasA || !hasB) return hasA === hasB ? 0 : hasA === isDescending ? 1 : -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function openOnEnter(event, tell) {
    if (event.event && event.event.key === "Enter" && event.data) tell({ run: event.data.id });
  }

  function api() {
    try {
      const found = window.dash_ag_grid.getApi(GRID);
      return found.isDestroyed() ? null : found;
    } catch {
      return null; // it is not there yet
    }
  }

  window.dashAgGridFunctions = Object.assign({}, window.dashAgGridFunctions, {
    shortNumber: shortNumber,
    duration: duration,
    dollars: dollars,
    unknownLast: unknownLast,
    openOnEnter: openOnEnter,
    isSearching: () => words.length > 0,
    hasWords: (node) => words.every((word) => textOf(node.data).includes(word)),
  });

  function rowsOf(values) {
    const names = Object.keys(values);
    return values.id.map((_, index) => {
      const row = {};
      for (const name of names) row[name] = values[name][index];
      return row;
    });
  }

  // Rows that did not change stay the same objects: the grid then touches none of them, nor its order and scroll
  // position.
  function merged(old, changed, gone) {
    const fresh = new Map(changed.map((row) => [row.id, row]));
    const left = new Set(gone);
    const kept = old.filter((row) => !left.has(row.id)).map((row) => {
      const now = fresh.get(row.id) || row;
      fresh.delete(row.id);
      return now;
    });
    return kept.concat(Array.from(fresh.values()));
  }

  function numberOf(row) {
    const id = typeof row === "string" ? row : row.id;
    return Number(id.slice(id.lastIndexOf(".") + 1));
  }

  const none = () => window.dash_clientside.no_update;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    grid: {
      rows: function (news, old) {
        if (!news) return [none(), none(), none()];
        texts = news.texts;
        const changed = rowsOf(news.values);
        const rows = news.whole ? changed : merged(old || [], changed, news.gone);
        return [rows, news.columns || none(), { key: news.key, revision: news.revision }];
      },
      search: function (text) {
        words = (text || "").toLowerCase().split(/\s+/).filter(Boolean);
        if (api()) api().onFilterChanged();
        return none();
      },
      state: function (model, columns, selected, search, shown, before, first) {
        const sorted = (columns || []).filter((one) => one.sort).sort((a, b) => a.sortIndex - b.sortIndex);
        const pairs = sorted.map((one) => [one.colId, one.sort]);
        const rows = Array.isArray(selected) ? selected : (selected && selected.ids) || [];
        const now = {
          where: model || {},
          sort: columns ? (same(pairs, first) ? null : pairs) : before.sort,
          chosen: rows.map(numberOf).sort((a, b) => a - b),
          find: search || "",
          columns: shown || "main",
        };
        return same(now, before) ? none() : now;
      },
      picked: function (clicked, told) {
        const isKey = told && (!clicked || told.timestamp > clicked.timestamp);
        if (isKey) return { run: told.data.run, at: told.timestamp };
        return clicked && clicked.colId === "number" ? { run: clicked.rowId, at: clicked.timestamp } : none();
      },
      columns: function (shown, defined) {
        const isHidden = (one) => shown !== "all" && one.context === "more";
        return (defined || []).map((one) => Object.assign({}, one, { hide: isHidden(one) }));
      },
      cleared: function (clicks, before) {
        return clicks ? Object.assign({}, before, { where: {}, find: "" }) : none();
      },
      emptied: function (clicks) {
        return clicks ? [{}, ""] : [none(), none()];
      },
    },
  });
})();
