/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Steer() {
  return null;
}

/** Buttons of a row. @param {{row: import("./question.js").Row}} props */
export function Actions() {
  return null;
}
