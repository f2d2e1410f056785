/** One sample of a metrics page. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/**
 * The samples of a page in Prometheus' text format whose name begins in a certain way. Pure. Lines that are none are passed over.
 *
 * @param beginning - of the names that are wanted: a page has many others
 */
export function samplesIn(page: string, beginning: string): Sample[] {
  return page.split("\n").flatMap((line): Sample[] => {
    if (!line.startsWith(beginning)) return [];
    const [, name, labels = "", number] = SAMPLE.exec(line) ?? [];
    const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
    if (name === undefined || Number.isNaN(value)) return [];
    const pairs = [...labels.matchAll(LABEL)].map(([, key = "", text = ""]) => [key, text.replace(/\\./g, (e) => ESCAPES[e] ?? e)]);
    return [{ name, labels: Object.fromEntries(pairs), value }];
  });
}
