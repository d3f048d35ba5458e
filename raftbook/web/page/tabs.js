// Three panels in one place, and the keys that lead there (WAI-ARIA tabs).

const tabs = [...document.querySelectorAll('[role="tab"]')];
let onShow = () => {};

export function start(listener) {
  onShow = listener;
  for (const tab of tabs) {
    tab.addEventListener("click", () => show(tab.id.replace("tab-", "")));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const next = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
      show(next.id.replace("tab-", ""));
      next.focus();
    });
  }
}

export function show(name) {
  for (const tab of tabs) {
    const isChosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
  }
  onShow(name);
}

export const shown = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true").id.replace("tab-", "");
