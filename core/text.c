#include "core/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

size_t ts_text_append(char *out, size_t bytes, size_t used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = used < bytes ? vsnprintf(out + used, bytes - used, format, args) : vsnprintf(NULL, 0, format, args);
    va_end(args);
    return used + (n > 0 ? (size_t)n : 0);
}

/* Reads one code point. Returns its bytes, or 0 where the text is not UTF-8. */
static int utf8_read(const char *text, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (n == 0)
        return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    *code = c;
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : n;
}

static size_t utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : 3;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : 0xe0) | code);
    return n;
}

bool ts_text_is_utf8(const char *text)
{
    uint32_t code;
    for (int n; *text; text += n) {
        n = utf8_read(text, &code);
        if (n == 0)
            return false;
    }
    return true;
}

/* What may not stand as it is: control characters, and what YAML takes for a line break, a byte order mark or nothing.
 */
static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
           c == 0xffff;
}

const char *ts_text_excerpt(const char *text, char *out, size_t bytes)
{
    size_t used = 0, fits = 0; /* fits: what can stay when "..." follows */
    while (*text) {
        uint32_t code = 0;
        int n = utf8_read(text, &code);
        bool plain = n > 0 && !is_unprintable(code);
        size_t width = plain ? (size_t)n : 1;
        if (used + width >= bytes) {
            memcpy(out + fits, "...", 4);
            return out;
        }
        memcpy(out + used, plain ? text : "?", width);
        used += width;
        if (used + 4 <= bytes)
            fits = used;
        text += n > 0 ? n : 1;
    }
    out[used] = '\0';
    return out;
}

/* Words that some YAML reader takes for a truth value or for nothing. */
static bool is_reserved(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

/* ASCII letters whatever the locale says. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/';
}

static bool is_plain(const char *text)
{
    if (!is_letter(text[0]) || is_reserved(text))
        return false;
    for (const char *s = text; *s; s++)
        if (!is_letter(*s) && !(*s >= '0' && *s <= '9') && !strchr(".+-", *s))
            return false;
    return true;
}

size_t ts_text_quote(const char *text, bool always, char *out, size_t bytes)
{
    if (!always && is_plain(text))
        return ts_text_append(out, bytes, 0, "%s", text);
    size_t used = ts_text_append(out, bytes, 0, "\"");
    while (*text) {
        uint32_t code = 0xfffd; /* the replacement character, for a byte that is not UTF-8 */
        int n = utf8_read(text, &code);
        if (code == '"' || code == '\\')
            used = ts_text_append(out, bytes, used, "\\%c", (char)code);
        else if (code == '\n')
            used = ts_text_append(out, bytes, used, "\\n");
        else if (code == '\t')
            used = ts_text_append(out, bytes, used, "\\t");
        else if (n == 0 || is_unprintable(code))
            used = ts_text_append(out, bytes, used, "\\u%04x", (unsigned)code);
        else
            used = ts_text_append(out, bytes, used, "%.*s", n, text);
        text += n > 0 ? n : 1;
    }
    return ts_text_append(out, bytes, used, "\"");
}

/* The code of "u0041" (after the backslash): 0 where it is none that may stand alone. */
static uint32_t read_u_escape(const char *s)
{
    uint32_t code = 0;
    for (int i = 1; i <= 4; i++) {
        if (!isxdigit((unsigned char)s[i]))
            return 0;
        int digit = s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10;
        code = code << 4 | (uint32_t)digit;
    }
    return code >= 0xd800 && code <= 0xdfff ? 0 : code;
}

size_t ts_text_unquote(const char *text, char *out)
{
    static const char letters[] = "\"\\/ntrbf", meanings[] = "\"\\/\n\t\r\b\f";
    const char *s = text + 1;
    while (*s != '"') {
        if (*s == '\0')
            return 0;
        if (*s != '\\') {
            *out++ = *s++;
            continue;
        }
        s++;
        if (*s == 'u') {
            uint32_t code = read_u_escape(s);
            if (code == 0)
                return 0;
            out += utf8_write(code, out);
            s += 5;
            continue;
        }
        const char *found = *s ? strchr(letters, *s) : NULL;
        if (!found)
            return 0;
        *out++ = meanings[found - letters];
        s++;
    }
    *out = '\0';
    return (size_t)(s + 1 - text);
}
