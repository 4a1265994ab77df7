#include "core/text.h"

#include <criterion/criterion.h>

Test(core_text, excerpt_is_one_clean_line)
{
    char out[16];
    cr_assert_str_eq(ts_text_excerpt("a\nb\x1b[0m", out, sizeof out), "a?b?[0m");
    cr_assert_str_eq(ts_text_excerpt("0123456789abcde", out, sizeof out), "0123456789abcde");
    cr_assert_str_eq(ts_text_excerpt("0123456789abcdef", out, sizeof out), "0123456789ab...");
    cr_assert_str_eq(ts_text_excerpt("\xff\xc3", out, sizeof out), "??");
    cr_assert_str_eq(ts_text_excerpt("0123456789a\xc3\xa9tude", out, sizeof out), "0123456789a...");
}

Test(core_text, utf8)
{
    cr_assert(ts_text_is_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    static const char *const bad[] = {
        "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(ts_text_is_utf8(bad[i]), "%zu", i);
}

Test(core_text, quotes_where_a_reader_could_err)
{
    static const char *const plain[] = {"adamw", "/data/mnist-2.bin", "a+b", "_x"};
    static const char *const quoted[] = {"",   "true", "No",   "null", "~",  "1", "1e3",
                                         ".5", "a b",  "a: b", "a#",   "-a", "é", "y"};
    char out[64], back[64];
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        ts_text_quote(plain[i], false, out, sizeof out);
        cr_expect_str_eq(out, plain[i]);
    }
    for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++) {
        size_t bytes = ts_text_quote(quoted[i], false, out, sizeof out);
        cr_expect_eq(out[0], '"', "%s", quoted[i]);
        cr_expect_eq(ts_text_unquote(out, back), bytes);
        cr_expect_str_eq(back, quoted[i]);
    }
}
