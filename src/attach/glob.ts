/** Names by pattern: `*` any run of characters, `?` one character; everything else is itself. */

export function globToRegExp(pattern: string): RegExp {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*/g, ".*")
    .replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "s");
}

export function isPattern(text: string): boolean {
  return /[*?]/.test(text);
}

/** Whether a name is meant: the text itself, or a pattern that matches. Names may hold `*` or `?` literally. */
export function matches(pattern: string, name: string): boolean {
  return pattern === name || globToRegExp(pattern).test(name);
}
