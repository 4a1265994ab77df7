/* The program's commands. ts_tessera is the one table of them: --help, the man page and the completion are made from it
 * (train/help.h). A command is one file, train/cmd_<name>.c, with one function, and one entry in commands.c.
 *
 * Each writes its answer to standard output and returns a status with one line of text; main says it and leaves with
 * the status as exit code. */
#ifndef TS_TRAIN_COMMANDS_H
#define TS_TRAIN_COMMANDS_H

#include "train/arguments.h"

extern const ts_command_set ts_tessera;

ts_status ts_cmd_train(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_eval(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_encode(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_decode(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_join(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_render(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_import(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_export(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_ablate(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_bench(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_explain(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_plan(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_inspect(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_diff(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_config(const ts_arguments *arguments, int *exit_code, ts_error *err);
ts_status ts_cmd_doctor(const ts_arguments *arguments, int *exit_code, ts_error *err);

#endif
