// Times as the viewer reads them: of their zone, with UTC beside, and ages that go on by themselves.

let ahead = 0; // ms that the server's clock is ahead of this one

/** The server said what time it is. */
export function setClock(seconds) { ahead = seconds * 1000 - Date.now(); }
export const now = () => Date.now() + ahead;

const two = (number) => String(number).padStart(2, "0");
const utc = (moment) => moment.toISOString().slice(11, 19);
const clock = (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;

// One who lives in UTC reads it once.
const beside = (moment) => (moment.getTimezoneOffset() === 0 ? " UTC" : ` ${utc(moment)} UTC`);

/** `14:03:22`, with the day where it is not today's. */
export function local(moment) {
  const today = new Date(now()).toDateString() === moment.toDateString();
  return today ? clock(moment) : `${moment.toLocaleDateString(undefined, { day: "numeric", month: "short" })} ${clock(moment)}`;
}

function ago(moment) {
  const seconds = Math.round((now() - moment) / 1000);
  if (seconds < -90) return local(moment); // a clock that is ahead: an age would be a lie
  if (seconds < 60) return `${Math.max(0, seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** Fill in all of them below `within`. */
export function times(within) {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    if (element.classList.contains("ago")) {
      const text = ago(moment);
      if (element.textContent !== text) element.textContent = text;
      if (!element.title) element.title = `${local(moment)} (${utc(moment)} UTC)`;
    } else if (element.classList.contains("clock") && !element.dataset.done) {
      element.dataset.done = "yes";
      const small = document.createElement("small");
      small.textContent = beside(moment);
      element.replaceChildren(local(moment), small);
      element.title = moment.toISOString();
    }
  }
}

/** Once a second. */
export function tick() {
  const moment = new Date(now());
  const small = document.createElement("small");
  small.textContent = beside(moment);
  document.getElementById("now").replaceChildren(clock(moment), small);
  times(document);
}
