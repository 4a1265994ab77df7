/* SIGINT and SIGTERM: the first asks the run to finish its step, save and leave with 130 or 143; the second ends the
 * process at once (the checkpoint on disk stays whole). */
#ifndef TS_TRAIN_SIGNALS_H
#define TS_TRAIN_SIGNALS_H

void ts_signals_install(void);
int ts_signals_received(void); /* 0, SIGINT or SIGTERM */

#endif
