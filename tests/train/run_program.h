/* The real program, run as a user runs it: its exit code and what it wrote. */
#ifndef TS_TESTS_RUN_PROGRAM_H
#define TS_TESTS_RUN_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/train/temp_folder.h"

typedef struct {
    int code;  /* exit code; 128 + the signal that ended it */
    char *out; /* what it wrote, ended by a 0; freed with outcome_free */
    size_t out_bytes;
    char *err;
} outcome;

/* What is special about a run; all zero: nothing. */
typedef struct {
    long file_limit; /* bytes that a file may grow to; 0: no limit */
    bool nobody;     /* as a user without any right */
    const char *out; /* standard output goes to this file */
    int signal;      /* sent once `signal_when` exists and has a byte */
    const char *signal_when;
} circumstances;

outcome run_program(const char *const *arguments, circumstances c);
#define RUN(...)       run_program((const char *const[]){__VA_ARGS__, NULL}, (circumstances){0})
#define RUN_IN(c, ...) run_program((const char *const[]){__VA_ARGS__, NULL}, (c))

void outcome_free(outcome *o);

/* Runs, and expects this exit code and one line on standard error that starts with "tessera" and holds `text`. */
void expect_refusal(const char *const *arguments, circumstances c, int code, const char *text);
#define REFUSED(code, text, ...)                                                                                       \
    expect_refusal((const char *const[]){__VA_ARGS__, NULL}, (circumstances){0}, (code), (text))
#define REFUSED_IN(c, code, text, ...) expect_refusal((const char *const[]){__VA_ARGS__, NULL}, (c), (code), (text))

/* Runs, expects success, and returns standard output, to be freed with free(). */
char *output_of_program(const char *const *arguments);
#define OUTPUT(...) output_of_program((const char *const[]){__VA_ARGS__, NULL})

/* The number behind "key": in what a command printed with --json, which is freed. */
double number_in_output(char *output, const char *key);

/* The small experiment that the tests train: four steps on generated 8 x 8 pictures, 64 codes. */
extern const char *const tiny_yaml;

/* folder/tiny.yaml, and a run of it in folder/run. Returns the path of its last checkpoint. */
const char *tiny_config(const temp_folder *folder);
const char *tiny_run(const temp_folder *folder);

/* As temp_path and temp_write, but each path stays as long as the test. */
const char *kept_path(const temp_folder *folder, const char *name);
const char *kept_write(const temp_folder *folder, const char *name, const void *bytes, size_t count);

/* The bytes of a file, to be freed with free(). */
char *file_content(const char *path, size_t *bytes);

#endif
