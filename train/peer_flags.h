/* The flags that users of T2M-GPT and MotionMillion type (their options/option_vq.py), on every command that takes
 * KEY=VALUE: `--nb-code 256` is quantizer.nb_code=256. One table, which the command line, `tessera config --flags`, the
 * man page, the completion and docs/motion.md are made from or checked against. Upstream spells some with dashes, some
 * with underscores; either is understood. Every flag of the two scripts is here: what has no meaning in this program is
 * refused with what to do instead, and nothing is passed over in silence. */
#ifndef TS_TRAIN_PEER_FLAGS_H
#define TS_TRAIN_PEER_FLAGS_H

#include <stddef.h>

typedef enum {
    TS_PEER_KEY,     /* --flag VALUE is KEY=VALUE */
    TS_PEER_NUMBERS, /* --flag N [N ...] is KEY=[N, ...], and `also` */
    TS_PEER_SWITCH,  /* --flag [true|false] is KEY=true or KEY=false */
    TS_PEER_NAMES,   /* --flag NAME is what `names` has for it */
    TS_PEER_OPTION,  /* --flag VALUE is --KEY VALUE, an option of the command */
    TS_PEER_FOLDER,  /* the first part of a path, */
    TS_PEER_FILE,    /* and the last: together the option --KEY FOLDER/FILE; either may be alone */
    TS_PEER_ALWAYS,  /* --flag asks for what is always so: sets nothing */
    TS_PEER_REFUSED, /* no meaning here: help says what to do instead */
} ts_peer_kind;

enum { TS_PEER_MAX_SETS = 4 };

typedef struct {
    const char *name;                   /* as upstream spells it */
    const char *sets[TS_PEER_MAX_SETS]; /* overrides, ended by NULL */
} ts_peer_name;

typedef struct {
    const char *name; /* with dashes, without the first two: "nb-code" */
    ts_peer_kind kind;
    const char *argument;      /* how the help calls the value: "N"; NULL where there is none, or none is needed */
    const char *key;           /* of the config, or name of the option; NULL for the kinds that have none */
    const char *also;          /* NUMBERS: an override beside */
    const ts_peer_name *names; /* NAMES: ended by name NULL */
    const char *help;          /* one line: what it is here, and what differs from upstream */
} ts_peer_flag;

extern const ts_peer_flag ts_peer_flags[]; /* ends with name NULL */

/* The flag whose name is the first `bytes` letters of `typed`, '_' for '-'; NULL: there is none. flags may be NULL. */
const ts_peer_flag *ts_peer_flag_find(const ts_peer_flag *flags, const char *typed, size_t bytes);

/* What a flag stands for, into `text`: "quantizer.nb_code", "l1: train.loss=l1; ...", "refused". Returns text. */
const char *ts_peer_flag_meaning(const ts_peer_flag *flag, char *text, size_t bytes);

#endif
