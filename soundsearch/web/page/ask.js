/** @param {{address: import("./address.js").Address, answer: import("./question.js").Answer}} props */
export function Ask() {
  return null;
}
