// Says so when a passkey was cancelled or is not there: allauth's own scripts tell the console alone.
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const told = document.getElementById("passkey_failed");
  if (told) told.hidden = false;
});
