// Runs before the first paint, so that a chosen theme does not flash: a file, because the
// content security policy allows no inline script.
try {
  var chosen = localStorage.getItem("atrium.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch (_) {
  // Storage is forbidden: the system's preference stands.
}
