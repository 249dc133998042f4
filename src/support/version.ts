/** The version of this package, recorded in what it writes; a test keeps it equal to package.json. */

export const version = "0.1.0";
