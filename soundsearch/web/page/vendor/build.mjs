// Makes ../vendor.js: what the page takes from others, with their licences above it.
import { readFileSync } from "node:fs";
import { build } from "esbuild";

const names = ["preact", "htm", "wavesurfer.js"];
const about = names.map((name) => {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  return { name: `${name} ${version} (${license})`, text: readFileSync(`node_modules/${name}/LICENSE`, "utf8") };
});
// Apache-2.0 is in the package's own LICENSE.
const notices = about.map(({ name, text }) => text.includes("Apache License")
  ? `${name}: Copyright 2018 Google Inc.; the Apache License 2.0 is in the file LICENSE`
  : `${name}:\n${text.trim()}`);
await build({
  entryPoints: ["vendor.js"],
  outfile: "../vendor.js",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  banner: { js: `/*!\n${notices.join("\n\n")}\n*/` },
});
