import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../shared/catalogue/catalogue.ts';
import { documents, renewed } from './events.ts';

const text = readFileSync('docs/events.md', 'utf8');

it.each(documents)('$file has the catalogue as it is (else: npm run docs:events)', (document) => {
  const written = readFileSync(document.file, 'utf8');
  expect(written).toBe(renewed(written, document));
});

describe('docs/events.md', () => {
  it('lists each event type with its old id, its label, its fields and its sample', () => {
    for (const { name, oldId, label, description, sample } of builtInEventTypes) {
      expect(text).toMatch(
        new RegExp(`\\[\`${name}\`\\]\\(#[\\w-]+\\) +\\| \`${oldId}\` +\\| ${label} +\\|`, 'u'),
      );
      const section = text.split(`### ${name}\n`)[1]?.split('\n### ')[0] ?? '';
      expect(section).toContain(description);
      for (const field of Object.keys(sample.data)) expect(section).toContain(`\`data.${field}\``);
      const json = /```json\n(?<sample>[^`]*)```/u.exec(section)?.groups?.['sample'] ?? '';
      expect(JSON.parse(json)).toEqual(sample);
    }
  });

  it('leads to sections that are there', () => {
    const headings = [...text.matchAll(/^#+ (?<heading>.*)$/gmu)].map(({ groups }) =>
      (groups?.['heading'] ?? '')
        .toLowerCase()
        .replaceAll(/[^a-z0-9_ -]/gu, '')
        .replaceAll(' ', '-'),
    );
    const links = [...text.matchAll(/\]\(#(?<anchor>[\w-]+)\)/gu)].map(({ groups }) => groups?.['anchor']);
    expect(links).toHaveLength(18);
    for (const link of links) expect(headings).toContain(link);
  });
});
