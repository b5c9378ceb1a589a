import { z } from 'zod';

type Json = Record<string, unknown>;

const JSON_TYPE = 'application/json';

/**
 * Holds answers against an OpenAPI description: the sentences in which an answer to `method path` with
 * `status` differs from its schema. A member that the description does not name is a difference too. An answer of another
 * type than JSON is given as a text.
 */
export function answerChecker(document: Json) {
  return (method: string, path: string, status: number, body: unknown, type = JSON_TYPE): string[] => {
    const place = ['paths', path, method, 'responses', String(status), 'content', type, 'schema'];
    const schema = at(document, place);
    if (schema === undefined) return [`${method} ${path} does not say what ${status} looks like`];
    const parsed = z.fromJSONSchema(strict(schema, document) as never).safeParse(body);
    if (parsed.success) return [];
    return parsed.error.issues.map(
      (issue) => `${method} ${path} ${status}: ${issue.path.join('.')}: ${issue.message}`,
    );
  };
}

function at(value: unknown, path: string[]): unknown {
  return path.reduce<unknown>((found, name) => (isJson(found) ? found[name] : undefined), value);
}

/** References put in place, and objects closed. */
function strict(schema: unknown, document: Json): unknown {
  if (Array.isArray(schema)) return schema.map((element) => strict(element, document));
  if (!isJson(schema)) return schema;
  if (typeof schema.$ref === 'string') {
    const target = at(document, schema.$ref.slice(2).split('/'));
    if (target === undefined) throw new Error(`${schema.$ref} leads nowhere`);
    return strict(target, document);
  }
  const members = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [name, strict(value, document)]),
  );
  return schema.properties === undefined ? members : { additionalProperties: false, ...members };
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
