/* SIGINT and SIGTERM: the first asks the run to finish its step, save and leave with 130 or 143; the second ends the
 * process at once with the same code (the checkpoint on disk stays whole). */
#ifndef TS_TRAIN_SIGNALS_H
#define TS_TRAIN_SIGNALS_H

/* From now on, and with none received yet. Also ignores SIGPIPE and SIGXFSZ, so that a reader that went away and a
 * limit on the size of files are failed writes, reported like a full disk, and the run can still save. */
void ts_signals_install(void);

int ts_signals_received(void); /* 0, SIGINT or SIGTERM. Thread: any */

#endif
