// Shows the rollout while it runs. Without it the page shows how far it was.
const line = document.getElementById("rollout-state");
const bar = document.getElementById("rollout-bar");
const list = document.getElementById("events");
let last = 0; // number of the last step shown: a stream that is opened again begins anew
let was = line.textContent.includes("under way");

new EventSource("/operator/events").addEventListener("rollout", (event) => {
  const now = JSON.parse(event.data);
  if (!now.what) return;
  line.textContent = `${now.what}: ${now.done} of ${now.total} done, ${now.failed} failed` +
    (now.running ? ", under way" : "") + (now.error ? ` – ${now.error}` : "");
  bar.max = now.total || 1;
  bar.value = now.running ? now.done : bar.max;
  for (const step of now.steps.filter((step) => step.number > last)) {
    last = step.number;
    const item = document.createElement("li");
    item.textContent = [step.customer, step.kind, step.migration, step.took].filter(Boolean).join(" ");
    list.prepend(item);
  }
  while (list.children.length > 200) list.lastChild.remove();
  if (was && !now.running) refresh();
  was = now.running;
});

// refresh brings the tables up to date, and leaves the steps.
async function refresh() {
  const response = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const tables = fresh.querySelectorAll("table");
  document.querySelectorAll("table").forEach((old, i) => tables[i] && old.replaceWith(tables[i]));
}
