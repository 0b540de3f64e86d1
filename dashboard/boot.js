// Loads the page's module. What it can't do is said in words: an empty page says nothing.
import init from "./{{glue}}";

try {
  await init({ module_or_path: new URL("./{{module}}", import.meta.url) });
} catch (error) {
  document.getElementById("boot").hidden = false;
  document.getElementById("boot-text").textContent = String(error);
  throw error;
}
