// Writes src/wire/types.ts from src/wire/openapi.json: one interface per document of the wire.
// With --check it writes nothing and fails where the file on disk is not what it would write.
import { readFileSync, writeFileSync } from 'node:fs'

const here = (path) => new URL(`../src/wire/${path}`, import.meta.url)
const schemas = JSON.parse(readFileSync(here('openapi.json'), 'utf8')).components.schemas

function type(schema) {
  if (schema.$ref) return schema.$ref.split('/').at(-1)
  if (schema.const !== undefined) return JSON.stringify(schema.const).replaceAll('"', "'")
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v).replaceAll('"', "'")).join(' | ')
  const any = schema.anyOf ?? schema.oneOf
  if (any) return [...new Set(any.map(type))].join(' | ')
  if (Array.isArray(schema.type)) return schema.type.map((t) => type({ ...schema, type: t })).join(' | ')
  switch (schema.type) {
    case 'string':
      return 'string'
    case 'integer':
    case 'number':
      return 'number'
    case 'boolean':
      return 'boolean'
    case 'null':
      return 'null'
    case 'array': {
      const item = type(schema.items ?? {})
      return item.includes('|') ? `(${item})[]` : `${item}[]`
    }
    case 'object': {
      const value = schema.additionalProperties
      return value && typeof value === 'object' && Object.keys(value).length
        ? `Record<string, ${type(value)}>`
        : 'Record<string, unknown>'
    }
    default:
      return 'unknown'
  }
}

const comment = (text, indent = '') =>
  text ? `${indent}/** ${text.replaceAll('`', '').replace(/\s+/g, ' ').trim()} */\n` : ''
// What only the checker of the server's own requests speaks of is no document of ours.
const foreign = new Set(['HTTPValidationError', 'ValidationError'])

let out = '// Made by `npm run types` from openapi.json, which Python writes: change wire/schema.py, not this file.\n'
for (const name of Object.keys(schemas)
  .filter((n) => !foreign.has(n))
  .sort()) {
  const schema = schemas[name]
  if (!schema.properties) {
    out += `\n${comment(schema.description)}export type ${name} = ${type(schema)};\n`
    continue
  }
  // A request may leave out what has a default; an answer never does.
  const optional = name === 'RunChange' ? (key) => !(schema.required ?? []).includes(key) : () => false
  out += `\n${comment(schema.description)}export interface ${name} {\n`
  for (const [key, value] of Object.entries(schema.properties)) {
    out += `${comment(value.description, '  ')}  ${key}${optional(key) ? '?' : ''}: ${type(value)};\n`
  }
  out += '}\n'
}

if (process.argv.includes('--check')) {
  if (readFileSync(here('types.ts'), 'utf8') !== out) {
    console.error('src/wire/types.ts is not what openapi.json says: run `npm run types`')
    process.exit(1)
  }
} else {
  writeFileSync(here('types.ts'), out)
}
