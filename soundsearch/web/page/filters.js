/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Filters() {
  return null;
}
