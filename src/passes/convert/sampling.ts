/** placeholder */
import { defineConverters } from "./registry.ts";
export const sampling = defineConverters({});
