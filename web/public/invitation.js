// The token of an invitation stands behind the "#" of its link, which browsers keep to themselves. It is
// taken out of the address at once and posted to this page's own form.
(() => {
  const token = location.hash.slice(1);
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  const parts = (name) => document.querySelectorAll(`[data-invitation="${name}"]`);
  parts("ask").forEach((part) => (part.hidden = true));
  parts("busy").forEach((part) => (part.hidden = false));
  document.getElementById("token").value = token;
  parts("form")[0].submit();
})();
