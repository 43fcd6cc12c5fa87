// What the pages do beyond links and forms. Each module looks for its own attributes and does nothing without them.
import { showTimes } from "./times.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startForms } from "./forms.js";
import { startTheme } from "./colours.js";

showTimes(document);
startTheme();
startKeys();
startForms();
startLive();
if (document.querySelector("[data-charts]")) import("./charts.js").then((charts) => charts.startCharts());
if (document.querySelector("[data-tail]")) import("./tail.js").then((tail) => tail.startTail());
if (document.querySelector("[data-further]")) import("./further.js").then((further) => further.startFurther());
if (document.querySelector("[data-capture]")) import("./capture.js").then((capture) => capture.startCapture());
