/** A size for people, in decimal units. */
export function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const exponent = Math.min(Math.floor(Math.log10(bytes) / 3), 3);
  return `${(bytes / 1_000 ** exponent).toFixed(1)} ${["B", "kB", "MB", "GB"][exponent]}`;
}
