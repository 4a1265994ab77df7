/* Small helpers for text that people typed and text that is read back: one-line excerpts for messages, quoting that
 * both YAML and JSON readers understand, and appending with a cut instead of an overflow. */
#ifndef TS_CORE_TEXT_H
#define TS_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

/* Writes at out + used as snprintf would, cut at `bytes`.
 * Returns the length so far without the cut, to be passed as `used` again; a result >= bytes says that it was cut.
 * out may be NULL with bytes 0, to measure. */
size_t ts_text_append(char *out, size_t bytes, size_t used, const char *format, ...) TS_PRINTF(4, 5);

/* True when `text` is well-formed UTF-8 (shortest forms only, no surrogates). */
bool ts_text_is_utf8(const char *text);

/* A single line that can stand in a message: control characters and broken UTF-8 become '?', and what is longer than
 * bytes - 1 ends in "...". bytes >= 8. Returns out. */
const char *ts_text_excerpt(const char *text, char *out, size_t bytes);

/* The excerpt in a buffer that lives as long as the enclosing block: ts_fail(err, ..., "%s", TS_SHOWN(typed)). */
#define TS_SHOWN(text) ts_text_excerpt(text, (char[96]){0}, 96)

/* `text` as a YAML scalar: as it is where every YAML reader takes that for the same text, otherwise in double quotes
 * with escapes that YAML and JSON share. always: in quotes in any case. Cut at `bytes`; returns the full length (see
 * ts_text_append). */
size_t ts_text_quote(const char *text, bool always, char *out, size_t bytes);

/* Undoes the quotes: `text` starts with '"'; the content goes to `out` (room for strlen(text) bytes).
 * Returns how many bytes of `text` were read, the closing quote included; 0 where it is not closed, an escape is
 * unknown or it holds a NUL. */
size_t ts_text_unquote(const char *text, char *out);

#endif
