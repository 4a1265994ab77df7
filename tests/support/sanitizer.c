/* Leaks that are not ours: libhdf5 1.10 where it refuses a damaged file, and what clang's OpenMP run time keeps per
 * thread, what fontconfig knows of the fonts of plots. */
#if defined(TS_SANITIZED)
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5\nleak:libomp\nleak:libfontconfig\n";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#else
typedef int not_sanitized;
#endif
