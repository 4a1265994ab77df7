/* Inside the command line: a flag of T2M-GPT or MotionMillion, as it was typed, becomes overrides or an option. */
#ifndef TS_TRAIN_PEER_PARSE_H
#define TS_TRAIN_PEER_PARSE_H

#include "train/arguments.h"

/* The words behind the flag. */
typedef struct {
    const char *attached;    /* the VALUE of --flag=VALUE, or NULL */
    const char *const *next; /* `left` of them */
    int left;
    int used; /* out: how many of `next` belong to the flag */
} ts_peer_words;

/* Appends what the flag stands for to a->overrides, or sets the option of the command. What the same flag gave before
 * is taken back, so that of two the later one counts, whole. Errors: TS_ERR_USAGE, without the name of program and
 * command; TS_ERR_RUNTIME out of memory. */
ts_status ts_peer_take(ts_arguments *a, const ts_peer_flag *flag, ts_peer_words *words, ts_error *err);

#endif
