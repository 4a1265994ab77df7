#include "train/steps.h"

#include "core/memory.h"

/* The numbers of a step's micro-batches and, with accumulation, of its update. */
typedef struct {
    ts_fetch **numbers; /* [accumulate] */
    ts_fetch *applied;  /* NULL without accumulation */
} flight;

struct ts_steps {
    const ts_experiment *e;
    const ts_training *programs;
    bool check_nan;
    flight flights[2]; /* steps take turns */
};

static flight *flight_of(ts_steps *s, int64_t step)
{
    return &s->flights[step % 2];
}

static ts_status open_flight(const ts_steps *s, flight *f, ts_error *err)
{
    const ts_training *p = s->programs;
    size_t micro = (size_t)s->e->train->accumulate;
    if (!(f->numbers = ts_calloc(micro, sizeof(ts_fetch *))))
        return ts_out_of_memory(err, micro * sizeof(ts_fetch *));
    for (size_t i = 0; i < micro; i++)
        TS_TRY(ts_fetch_new(p->step, p->numbers, &f->numbers[i], err));
    return p->apply ? ts_fetch_new(p->apply, p->apply_numbers, &f->applied, err) : TS_OK;
}

static void close_flight(const ts_steps *s, flight *f)
{
    for (int64_t i = 0; f->numbers && i < s->e->train->accumulate; i++)
        ts_fetch_free(f->numbers[i]);
    ts_fetch_free(f->applied);
    ts_free(f->numbers);
}

ts_status ts_steps_open(ts_steps **steps, const ts_experiment *e, const ts_training *programs, bool check_nan,
                        ts_error *err)
{
    ts_steps *s = *steps = ts_calloc(1, sizeof *s);
    if (!s)
        return ts_out_of_memory(err, sizeof *s);
    *s = (ts_steps){.e = e, .programs = programs, .check_nan = check_nan};
    ts_status status = open_flight(s, &s->flights[0], err);
    if (status == TS_OK)
        status = open_flight(s, &s->flights[1], err);
    if (status != TS_OK) {
        ts_steps_close(s);
        *steps = NULL;
    }
    return status;
}

void ts_steps_close(ts_steps *s)
{
    if (!s)
        return;
    close_flight(s, &s->flights[0]);
    close_flight(s, &s->flights[1]);
    ts_free(s);
}

static ts_status run(const ts_steps *s, ts_program *program, ts_error *err)
{
    return s->check_nan ? ts_program_run_checked(program, err) : ts_program_run(program, err);
}

ts_status ts_steps_give(ts_steps *s, const ts_batch *batch, int64_t step, int64_t applied, ts_error *err)
{
    const ts_training *p = s->programs;
    flight *f = flight_of(s, step);
    const int64_t micro = s->e->train->accumulate;
    const int64_t items = s->e->train->batch / micro, size = ts_shape_count(s->e->tokenizer.item);
    float schedule[TS_SCHEDULE_SLOTS];
    ts_schedule_fill(s->e->train, step, applied, schedule);
    for (int64_t i = 0; i < micro; i++) {
        int64_t random[2] = {s->e->top->seed, step * micro + i};
        ts_program_set(p->step, p->x, batch->data + i * items * size);
        if (p->lengths.graph)
            ts_program_set(p->step, p->lengths, batch->lengths + i * items);
        ts_program_set(p->step, p->schedule, schedule);
        ts_program_set(p->step, p->random, random);
        TS_TRY(run(s, p->step, err));
        ts_fetch_begin(f->numbers[i]);
    }
    if (!p->apply)
        return TS_OK;
    ts_program_set(p->apply, p->apply_schedule, schedule);
    TS_TRY(run(s, p->apply, err));
    ts_fetch_begin(f->applied);
    return TS_OK;
}

ts_status ts_steps_receive(ts_steps *s, int64_t step, ts_step_numbers *numbers, ts_error *err)
{
    const ts_training *p = s->programs;
    flight *f = flight_of(s, step);
    const int64_t micro = s->e->train->accumulate;
    float found[TS_MAX_NUMBERS], *last = found + 1 + p->part_count;
    *numbers = (ts_step_numbers){0};
    for (int64_t i = 0; i < micro; i++) {
        TS_TRY(ts_fetch_end(f->numbers[i], found, err));
        numbers->loss += (double)found[0] / (double)micro;
        for (int k = 0; k < p->part_count; k++)
            numbers->parts[k] += (double)found[1 + k] / (double)micro;
    }
    if (p->apply) {
        TS_TRY(ts_fetch_end(f->applied, found, err));
        last = found;
    }
    numbers->norm = (double)last[0];
    numbers->ok = last[1] != 0;
    return TS_OK;
}

void ts_steps_revive(ts_steps *s)
{
    const float live = 1;
    ts_store_set(s->e->store, s->programs->live, TS_BLOCK_STATE, &live);
}
