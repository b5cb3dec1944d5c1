// Compares the language files with one another and with the keys that the sources use.
import ts from 'typescript';

const plurals = ['zero', 'one', 'two', 'few', 'many', 'other'];

/**
 * Flattens nested texts to dotted keys.
 * @param {object} texts @param {string} [prefix] @returns {Map<string, string>}
 */
export function flatten(texts, prefix = '') {
  const flat = new Map();
  for (const [key, value] of Object.entries(texts)) {
    const path = prefix ? `${prefix}.${key}` : key;
    if (typeof value === 'string') flat.set(path, value);
    else for (const [k, v] of flatten(value, path)) flat.set(k, v);
  }
  return flat;
}

/**
 * Takes the plural form off a key. Each plural has the form other, which tells it from
 * a key that only ends like one.
 * @param {string} key @param {(key: string) => boolean} exists
 */
function splitPlural(key, exists) {
  const at = key.lastIndexOf('_');
  const form = at > 0 ? key.slice(at + 1) : '';
  return plurals.includes(form) && exists(`${key.slice(0, at)}_other`)
    ? { base: key.slice(0, at), form }
    : { base: key, form: '' };
}

/** The placeholders and tags of a text, each once. @param {string} text */
function placeholders(text) {
  const found = [...text.matchAll(/\{\{\s*([\w.]+)[^}]*\}\}|<\/?(\w+)\s*\/?>/g)].map((m) =>
    m[1] ? `{{${m[1]}}}` : `<${m[2]}>`,
  );
  return [...new Set(found)].sort();
}

/**
 * The faults of the languages against one another.
 * @param {Record<string, object>} languages
 * @returns {string[]}
 */
export function compareLanguages(languages) {
  const faults = [];
  const flat = Object.entries(languages).map(([language, texts]) => ({ language, texts: flatten(texts) }));
  /** @type {Map<string, { plural: boolean, marks: string }>} */
  const bases = new Map();
  /** @param {string} key */
  const exists = (key) => flat.some(({ texts }) => texts.has(key));
  for (const { texts } of flat) {
    for (const [key, text] of texts) {
      const { base, form } = splitPlural(key, exists);
      const known = bases.get(base);
      // The singular may say "one system" without the number, so the richest form counts.
      const marks = placeholders(text).join(' ');
      if (!known || marks.length > known.marks.length)
        bases.set(base, { plural: form !== '' || (known?.plural ?? false), marks });
    }
  }
  for (const { language, texts } of flat) {
    const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const [base, { plural, marks }] of bases) {
      const wanted = plural ? forms.map((f) => `${base}_${f}`) : [base];
      for (const key of wanted) {
        const text = texts.get(key);
        if (text === undefined) faults.push(`${language}: ${key} is missing`);
        else if (text.trim() === '') faults.push(`${language}: ${key} is empty`);
        else if (placeholders(text).join(' ') !== marks && !key.endsWith('_one')) {
          faults.push(
            `${language}: ${key} has the placeholders "${placeholders(text).join(' ')}", elsewhere they are "${marks}"`,
          );
        }
      }
    }
    for (const key of texts.keys()) {
      const { base, form } = splitPlural(key, exists);
      if (bases.get(base)?.plural && !(/** @type {string[]} */ (forms).includes(form))) {
        faults.push(`${language}: ${key} is a plural form that the language does not have`);
      }
    }
  }
  return faults;
}

/**
 * The keys that a source may use: all its strings, and the beginnings of its templates,
 * such as problem. of `problem.${code}`; that those are complete is what the types say.
 * @param {string} name @param {string} text
 */
export function usedKeys(name, text) {
  const exact = new Set();
  const prefixes = new Set();
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, false);
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isStringLiteralLike(node)) exact.add(node.text);
    else if (ts.isTemplateExpression(node) && /^[a-z]\w*(\.\w+)*\.$/.test(node.head.text)) prefixes.add(node.head.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { exact, prefixes };
}

/**
 * The keys that no source uses.
 * @param {Iterable<string>} keys
 * @param {{ name: string, text: string }[]} sources
 */
export function unusedKeys(keys, sources) {
  const used = sources.map(({ name, text }) => usedKeys(name, text));
  const all = new Set(keys);
  return [...all].filter((key) => {
    const { base } = splitPlural(key, (k) => all.has(k));
    return !used.some(
      ({ exact, prefixes }) => exact.has(base) || exact.has(key) || [...prefixes].some((p) => base.startsWith(p)),
    );
  });
}
