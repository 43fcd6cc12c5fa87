import { run } from "headrace";
import { maxRpm } from "./limits.ts";

export async function main(payload: { rpm: number }) {
  return { site: run.captures.site, tooFast: payload.rpm > maxRpm };
}
