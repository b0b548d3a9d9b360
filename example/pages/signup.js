// Says while typing whether a subdomain can be had. The form works without it.
const input = document.getElementById("subdomain");
const output = document.getElementById("availability");
let timer, latest = 0;

async function check() {
  const mine = ++latest;
  const name = input.value.trim();
  if (!name) {
    output.textContent = "";
    return;
  }
  try {
    const response = await fetch("/signup/available?" + new URLSearchParams({ subdomain: name }));
    const answer = await response.json();
    if (mine !== latest) return;
    output.textContent = answer.text;
    output.className = answer.free ? "good" : "problem";
  } catch {
    if (mine === latest) output.textContent = "";
  }
}

input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(check, 250);
});
