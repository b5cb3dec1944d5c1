// Makes src/api/generated from the API's OpenAPI document: the types, and the limits of
// what people may type, so that forms know them without saying them again.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import openapiTS, { astToString } from 'openapi-typescript';

const document = new URL('../../../api/openapi.json', import.meta.url);
const target = new URL('../src/api/generated/', import.meta.url);
const head = '// Made by "npm run generate" from ccc/api/openapi.json.\n\n';

const api = JSON.parse(await readFile(document, 'utf8'));
const { schemas } = api.components;

/** @param {{ name: string, in: string }[]} parameters @param {string} name */
const query = (parameters, name) => {
  const found = parameters.find((p) => p.in === 'query' && p.name === name);
  if (!found) throw new Error(`openapi.json: no query parameter ${name}`);
  return /** @type {any} */ (found).schema;
};

const limits = {
  page: query(api.paths['/systems'].get.parameters, 'limit').maximum,
  name: schemas.NewSystem.properties.name.maxLength,
  note: schemas.NewSystem.properties.note.maxLength,
  serial: schemas.NewSystem.properties.serial.pattern,
  tag: schemas.NewSystem.properties.tags.items.maxLength,
  tags: schemas.NewSystem.properties.tags.maxItems,
  groups: schemas.NewSystem.properties.groups.maxItems,
  group: schemas.NewGroup.properties.name.maxLength,
  newPassword: schemas.PasswordChange.properties.new.minLength,
};
for (const [name, value] of Object.entries(limits)) {
  if (value === undefined) throw new Error(`openapi.json says nothing about the limit of ${name}`);
}

await mkdir(target, { recursive: true });
await writeFile(new URL('schema.d.ts', target), head + astToString(await openapiTS(document)));
await writeFile(
  new URL('limits.ts', target),
  `${head}export const limits = ${JSON.stringify(limits, null, 2)} as const;\n`,
);
