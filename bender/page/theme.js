// The choice between light, dark and the system's colours. It runs before the first paint, so that the page does not
// flash; a module would run after it.
"use strict";
{
  const CHOICES = ["auto", "light", "dark"];
  const KEY = "bender.theme";

  const stored = () => {
    try {
      const choice = localStorage.getItem(KEY);
      return CHOICES.includes(choice) ? choice : "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };

  const apply = (choice) => {
    if (choice === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", choice);
  };

  apply(stored());
  window.theme = {
    get choice() {
      return document.documentElement.getAttribute("data-theme") ?? "auto";
    },
    next() {
      const choice = CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length];
      apply(choice);
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // The choice lasts as long as the page.
      }
      return choice;
    },
  };
}
