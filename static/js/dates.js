/** Days as people name them: in the list of conversations and beside a search result. */

const DAY_MS = 86_400_000;
const time = new Intl.DateTimeFormat("en-US", { hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-US", { month: "short", day: "numeric" });
const dayOfYear = new Intl.DateTimeFormat("en-US", { year: "numeric", month: "short", day: "numeric" });
const month = new Intl.DateTimeFormat("en-US", { month: "long" });
const monthOfYear = new Intl.DateTimeFormat("en-US", { year: "numeric", month: "long" });

/** @param {Date} now @param {number} back @returns {number} when the day began that is so many days back */
const midnight = (now, back) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - back).getTime();

/**
 * A function that names the group of a time. Made once for a whole list, as it looks at the clock.
 * @param {Date} [now]
 * @returns {(iso: string) => string} "Today", "Yesterday", "Previous 7 days", "Previous 30 days", "June", "June 2024"
 */
export function grouping(now = new Date()) {
  const recent = [
    [midnight(now, 0), "Today"],
    [midnight(now, 1), "Yesterday"],
    [midnight(now, 7), "Previous 7 days"],
    [midnight(now, 30), "Previous 30 days"],
  ];
  const names = new Map();
  return (iso) => {
    const at = Date.parse(iso);
    const found = recent.find(([since]) => at >= since);
    if (found) return found[1];
    const date = new Date(at);
    const key = date.getFullYear() * 12 + date.getMonth();
    if (!names.has(key)) names.set(key, (date.getFullYear() === now.getFullYear() ? month : monthOfYear).format(date));
    return names.get(key);
  };
}

/**
 * @param {string} iso
 * @param {Date} [now]
 * @returns {string} "2:03 PM" today, then "Yesterday", "Jun 3", "Jun 3, 2024"
 */
export function shortDate(iso, now = new Date()) {
  const at = Date.parse(iso);
  if (at >= midnight(now, 0)) return time.format(at);
  if (at >= midnight(now, 0) - DAY_MS) return "Yesterday";
  return (new Date(at).getFullYear() === now.getFullYear() ? day : dayOfYear).format(at);
}

const UNITS = [
  [60, "minute"],
  [24, "hour"],
  [30, "day"],
  [12, "month"],
  [Infinity, "year"],
];

/**
 * @param {string} iso a time that has passed
 * @param {Date} [now]
 * @returns {string} "just now", "5 minutes ago", "yesterday", "3 days ago"
 */
export function ago(iso, now = new Date()) {
  let value = Math.floor((now.getTime() - Date.parse(iso)) / 60_000);
  if (value < 1) return "just now";
  for (const [size, unit] of UNITS) {
    if (value < size) return unit === "day" && value === 1 ? "yesterday" : `${value} ${unit}${value === 1 ? "" : "s"} ago`;
    value = Math.floor(value / /** @type {number} */ (size));
  }
  return "";
}

/**
 * @param {string} iso a time to come
 * @param {Date} [now]
 * @returns {string} "in 5 hours"
 */
export function until(iso, now = new Date()) {
  const minutes = Math.max(1, Math.round((Date.parse(iso) - now.getTime()) / 60_000));
  if (minutes < 60) return minutes === 1 ? "in a minute" : `in ${minutes} minutes`;
  const hours = Math.round(minutes / 60);
  if (hours < 36) return hours === 1 ? "in an hour" : `in ${hours} hours`;
  return `in ${Math.round(hours / 24)} days`;
}
