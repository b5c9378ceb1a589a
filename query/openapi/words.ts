/** A JSON value of the description. */
export type Json = string | number | boolean | null | Json[] | { [member: string]: Json };

export type Schema = { [keyword: string]: Json };

export const STRING: Schema = { type: 'string' };
export const STRING_OR_NULL: Schema = { type: ['string', 'null'] };
export const COUNT: Schema = { type: 'integer', minimum: 0 };
export const SEQ: Schema = { type: 'integer', minimum: 1 };
export const TIME: Schema = { type: 'string', format: 'date-time' };
export const UUID: Schema = { type: 'string', format: 'uuid' };
export const HASH: Schema = { type: 'string', pattern: '^[0-9a-f]{64}$' };
export const JSON_OBJECT: Schema = { type: 'object', additionalProperties: true };
export const WARNINGS: Schema = { type: 'array', items: STRING };

/** All members are required unless told. */
export function object(
  properties: Record<string, Schema>,
  required: string[] = Object.keys(properties),
): Schema {
  return { type: 'object', properties, required };
}

export function orNull(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] };
}

export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

export function json(schema: Schema): Schema {
  return { 'application/json': { schema } };
}

export function parameter(name: string, schema: Schema, description?: string): Schema {
  return { name, in: 'query', schema, ...(description === undefined ? {} : { description }) };
}
