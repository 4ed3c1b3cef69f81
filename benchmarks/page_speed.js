/** What benchmarks/page_speed.py looks at in the page. */
globalThis.pgWatch = (() => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const painted = async () => {
    await frame();
    await new Promise((resolve) => setTimeout(resolve));
  };
  const scroller = () => document.getElementById("pg-scroller");
  const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))] ?? 0;
  const state = { tasks: [], keys: [], last: 0 };
  new PerformanceObserver((list) => state.tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({
    entryTypes: ["longtask"],
  });
  addEventListener("keydown", (event) => state.keys.push(performance.now() - event.timeStamp), true);

  async function open(id) {
    history.pushState(null, "", "/");
    dispatchEvent(new PopStateEvent("popstate"));
    await new Promise((resolve) => setTimeout(resolve, 400));
    const real = window.fetch;
    let answered = 0;
    window.fetch = async (...given) => {
      const response = await real(...given);
      if (String(given[0]).endsWith(`/api/conversations/${id}`)) {
        await response.clone().arrayBuffer();
        answered = performance.now();
      }
      return response;
    };
    const began = performance.now();
    history.pushState(null, "", `/c/${id}`);
    dispatchEvent(new PopStateEvent("popstate"));
    while (!document.querySelector(".pg-last .pg-foot")) await frame();
    await painted();
    const now = performance.now();
    window.fetch = real;
    const nodes = document.querySelectorAll("#pg-messages *").length;
    return { painted: now - answered, whole: now - began, nodes };
  }

  async function scroll(by, steps) {
    const frames = [];
    let last = performance.now();
    for (let step = 0; step < steps; step += 1) {
      scroller().scrollTop -= by;
      await frame();
      frames.push(performance.now() - last);
      last = performance.now();
    }
    return { p50: quantile(frames, 0.5), p95: quantile(frames, 0.95), longest: Math.max(...frames) };
  }

  /** From now on: long tasks, keys, and when the document changed last. */
  function begin() {
    Object.assign(state, { tasks: [], keys: [], last: 0, length: 0, word: 0 });
    const list = document.getElementById("pg-messages");
    state.seen = new MutationObserver(() => {
      const length = list.querySelector(".pg-last [data-testid=answer]")?.textContent.length ?? 0;
      if (length !== state.length) Object.assign(state, { length, word: performance.timeOrigin + performance.now() });
      if (list.querySelector(".pg-last .pg-foot") && !state.last) state.last = performance.timeOrigin + performance.now();
      if (!list.querySelector(".pg-last .pg-foot")) state.last = 0;
    });
    state.seen.observe(list, { childList: true, subtree: true, characterData: true });
  }

  async function end() {
    while (!state.last) await frame();
    await new Promise((resolve) => setTimeout(resolve, 300));
    state.seen.disconnect();
    const { keys } = state;
    return {
      tasks: state.tasks,
      word: state.word,
      last: state.last,
      keys: { p50: quantile(keys, 0.5), longest: Math.max(0, ...keys), count: keys.length },
    };
  }

  async function reasoning() {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const began = performance.now();
    document.querySelector("[data-testid=reasoning-toggle]").click();
    await painted();
    return performance.now() - began;
  }

  return { open, scroll, begin, end, reasoning };
})();
