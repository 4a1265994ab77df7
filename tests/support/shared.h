/* Where the shared goldens and data are, and how a test says that they are not. */
#ifndef TS_TESTS_SHARED_H
#define TS_TESTS_SHARED_H

/* The path of `name` in the shared folder ($TESSERA_SHARED, else the configured one), in a static buffer; NULL where it
 * does not exist. Then the test calls skip_counted("why") and returns. */
const char *shared_path(const char *name);

/* Marks the running test as skipped: Criterion's own summary leaves skips out, so this also writes a line
 * "SKIPPED suite/test: why" that scripts/test.sh counts and prints. */
#define skip_counted(why) skip_counted_at(why, __FILE__, __LINE__)
void skip_counted_at(const char *why, const char *file, int line);

#endif
