// Puts name.br and name.gz beside each file of dist that gets smaller by it. index.html
// is left alone: each answer has a nonce of its own.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

const dist = new URL('../dist/', import.meta.url);
const brotli = promisify(brotliCompress);
const zip = promisify(gzip);

for (const entry of await readdir(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(js|css|svg|json)$/.test(entry.name)) continue;
  const path = `${entry.parentPath}/${entry.name}`;
  const plain = await readFile(path);
  const coded = {
    br: await brotli(plain, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
    }),
    gz: await zip(plain, { level: 9 }),
  };
  for (const [suffix, content] of Object.entries(coded)) {
    if (content.length < plain.length * 0.95) await writeFile(`${path}.${suffix}`, content);
  }
}
