/** Numbers, times and names as people read them. */

const whole = new Intl.NumberFormat("en-US");

/** @param {number} value @returns {string} 1,234 */
export function count(value) {
  return whole.format(value);
}

/**
 * @param {number} seconds
 * @returns {string} "4 s" or "1 min 5 s"
 */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  if (total < 60) return `${total} s`;
  const rest = total % 60;
  return rest ? `${Math.floor(total / 60)} min ${rest} s` : `${total / 60} min`;
}

/** @param {number} seconds @returns {string} "0.42 s", "3.1 s", "12 s" */
export function shortSeconds(seconds) {
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

/** @param {number} bytes @returns {string} "5.2 GB" */
export function bytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit > 1 && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** @param {number} seconds @returns {string} "about 3 minutes left" */
export function remaining(seconds) {
  if (seconds < 50) return `about ${Math.max(5, Math.ceil(seconds / 5) * 5)} seconds left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes <= 1 ? "about a minute left" : `about ${minutes} minutes left`;
  const hours = Math.round(minutes / 60);
  return hours === 1 ? "about an hour left" : `about ${hours} hours left`;
}

/** @param {any} model a model's status @returns {boolean} also before it is loaded, when only its name is known */
export function isDemo(model) {
  return Boolean(model?.demonstration) || model?.name === "demo";
}

/**
 * @param {string} name a model's name
 * @param {boolean} [demonstration]
 * @returns {string} the name without its owner
 */
export function modelName(name, demonstration = name === "demo") {
  if (demonstration) return "Demonstration model";
  return name.split("/").pop() || name;
}

const dated = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** @param {string} iso @returns {string} date and time of day, as the reader's system writes them */
export function moment(iso) {
  return dated.format(new Date(iso));
}
