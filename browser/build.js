// Compiles src and joins its modules into one, dist/rhubarb.js, and their public
// types, dist/rhubarb.d.ts. Another directory may be named: node build.js DIR.
// Names are unique over all modules, and imports stand on a line of their own.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ts from "typescript";

const here = import.meta.dirname;
const dist = process.argv[2] ?? join(here, "dist");
const modules = ["wire", "stream", "socket", "line", "position", "outbox", "tabs", "share", "page", "index"];
const types = ["api", "index"];
const licence = "// rhubarb.js follows rhubarb's streams and groups: see docs/browser.md. Apache License 2.0.\n\n";

// Comments are for who reads src; the file that browsers load has none.
const { options } = ts.convertCompilerOptionsFromJson(ts.readConfigFile(join(here, "tsconfig.json"), ts.sys.readFile).config.compilerOptions, here);
const compile = (name) => ts.transpileModule(readFileSync(join(here, "src", `${name}.ts`), "utf8"),
  { compilerOptions: { ...options, removeComments: true } }).outputText;
const local = (name, code) => (name === "index" ? code : code.replace(/^export (?=class|const|function|async)/gm, ""));
const tabs = (code) => code.replace(/^(?: {4})+/gm, (spaces) => "\t".repeat(spaces.length / 4));
const alone = (code) => tabs(code.replace(/^(import|export) .*from ".*";\n/gm, "")).trim();

const out = mkdtempSync(join(tmpdir(), "rhubarb-js-"));
try {
  execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "-p", here, "--outDir", out], { stdio: "inherit" });
  mkdirSync(dist, { recursive: true });
  writeFileSync(join(dist, "rhubarb.js"), licence + modules.map((m) => local(m, alone(compile(m)))).join("\n\n") + "\n");
  writeFileSync(join(dist, "rhubarb.d.ts"), licence + types.map((m) => alone(readFileSync(join(out, `${m}.d.ts`), "utf8"))).join("\n\n") + "\n");
} finally {
  rmSync(out, { recursive: true });
}
