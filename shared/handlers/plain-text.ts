import { z } from 'zod';

// What is too long is not looked at any further.
const tooLong = (maxLength: number) => ({ error: `must have at most ${maxLength} characters`, abort: true });

const hidden = 'must not contain invisible characters (zero width, direction of text)';

/**
 * Whether nothing in it is invisible: no zero width, soft hyphen, change of direction, tag or filler. With these a name could look
 * like another one, or a line be read backwards (https://trojansource.codes). The joiners that some scripts are written with are taken, and emoji,
 * which are made with such characters.
 */
const isVisible = (text: string): boolean =>
  !/[\p{Cf}\p{DI}]/u.test(text.replaceAll(emoji, ' ').replaceAll(joinerInWord, ' '));

const emoji = /\p{RGI_Emoji}/gv;
const joinerInWord =
  /(?<=[[\p{L}\p{M}]--[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}]])[\u200C\u200D](?=[[\p{L}\p{M}]--[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}]])/gv;

/**
 * Text for people: one line, not blank, without what cannot be seen; in the normal form C of Unicode, so that what looks the same
 * is found and sorted as the same.
 */
export const line = (maxLength: number) =>
  z
    .string()
    .normalize('NFC')
    .max(maxLength, tooLong(maxLength))
    .refine(
      (text) => !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(text),
      'must not contain control characters or line breaks',
    )
    .refine(isVisible, hidden)
    // U+2800 is the empty Braille pattern.
    .refine((text) => /[^\s\u2800]/u.test(text), 'must not be empty')
    .meta({ minLength: 1 });

/** The same with line breaks and tabs; may be empty. */
export const lines = (maxLength: number) =>
  z
    .string()
    .normalize('NFC')
    .max(maxLength, tooLong(maxLength))
    .refine(
      (text) => !/[^\P{Cc}\n\r\t]|\p{Cs}/u.test(text),
      'must not contain control characters but line breaks and tabs',
    )
    .refine(isVisible, hidden);
