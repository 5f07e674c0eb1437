"use strict";
// Each message has one section's name and its HTML, which the service has escaped.
const live = () => document.getElementById("live");
const stream = new EventSource("/stream");
stream.addEventListener("section", (message) => {
  const { name, html } = JSON.parse(message.data);
  const place = document.getElementById(name);
  if (place) place.innerHTML = html;
});
stream.addEventListener("open", () => { if (live()) live().textContent = "live"; });
stream.addEventListener("error", () => { if (live()) live().textContent = "not connected; these figures are old"; });
